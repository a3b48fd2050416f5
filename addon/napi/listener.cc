// SPDX-License-Identifier: MIT
#include "listener.h"

#include "../core/sockets.h"
#include "arguments.h"
#include "notification_words.h"

namespace waep {

Napi::Function Listener::Define(Napi::Env env) {
  return DefineClass(env, "Listener",
                     {
                         InstanceAccessor<&Listener::Words>("words"),
                         InstanceMethod<&Listener::Close>("close"),
                     });
}

Listener::Listener(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<Listener>(info),
      fd_(arguments::Int(info, 0)),
      recall_object_(Napi::Persistent(info[1].As<Napi::Object>())),
      recall_(Recall::Unwrap(info[1].As<Napi::Object>())),
      on_call_(Napi::Persistent(info[2].As<Napi::Function>())),
      on_end_(Napi::Persistent(info[3].As<Napi::Function>())),
      context_(info.Env(), "waep:Listener") {
  auto words = Napi::BigUint64Array::New(info.Env(), NotificationWords::kCount);
  words_data_ = words.Data();
  words_ = Napi::Persistent(words);
  int error = 0;
  poll_ = UvPoll::Create(
      info.Env(), fd_, [this](int status, int events) { Ready(status, events); }, &error);
  if (poll_ == nullptr) {
    ThrowPollError(info.Env(), error);
    return;
  }
  // The loop holds the object for as long as it may call it.
  Ref();
  // No JavaScript runs any more that could close it.
  poll_->OnTeardown([this] {
    poll_ = nullptr;
    sockets::Close(fd_);
  });
  poll_->Poll(UV_READABLE | UV_DISCONNECT);
}

Napi::Value Listener::Words(const Napi::CallbackInfo&) { return words_.Value(); }

void Listener::Close(const Napi::CallbackInfo&) {
  if (poll_ == nullptr) return;
  poll_->Close([this] { Unref(); });
  poll_ = nullptr;
}

void Listener::Ready(int, int events) {
  if ((events & UV_READABLE) != 0) Serve();
  if ((events & UV_DISCONNECT) != 0 && poll_ != nullptr) MakeCallback(on_end_, context_, {});
}

void Listener::Serve() {
  lookout_.Begin();
  do {
    seccomp::Notification call;
    if (seccomp::Receive(fd_, &call) < 0) return;
    const int answered = recall_->table()->Answer(fd_, call);
    if (answered == seccomp::RecallTable::kYes) continue;
    const Napi::HandleScope scope(Env());
    NotificationWords::Put(call, words_data_);
    MakeCallback(on_call_, context_, {Napi::Number::New(Env(), answered)});
  } while (poll_ != nullptr && lookout_.Wait(fd_));
}

}  // namespace waep
