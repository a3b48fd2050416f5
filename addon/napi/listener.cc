// SPDX-License-Identifier: MIT
#include "listener.h"

#include "../core/sockets.h"
#include "arguments.h"
#include "notification_words.h"

namespace waep {
namespace {

// The values that a listener keeps.
enum Value : size_t { kCache, kOnCall, kOnEnd, kWords, kBegins };

}  // namespace

Napi::Function Listener::Define(Napi::Env env) {
  return DefineClass(env, "Listener",
                     {
                         InstanceAccessor<&Listener::Words>("words"),
                         InstanceMethod<&Listener::Close>("close"),
                     });
}

Listener::Listener(const Napi::CallbackInfo& info)
    : LoopObject(info, "waep:Listener"),
      fd_(arguments::Int(info, 0)),
      cache_(VerdictCacheBinding::Unwrap(info[2].As<Napi::Object>())),
      kernel_paths_(arguments::Texts(info[3])),
      begins_(arguments::View(info[4]).data),
      rights_(arguments::Int(info, 1)) {
  Keep(kCache, info[2]);
  Keep(kBegins, info[4]);
  Keep(kOnCall, info[5]);
  Keep(kOnEnd, info[6]);
  auto words = Napi::BigUint64Array::New(info.Env(), NotificationWords::kCount);
  words_data_ = words.Data();
  Keep(kWords, words);
  int error = 0;
  poll_ = UvPoll::Create(
      info.Env(), fd_, [this](int status, int events) { Ready(status, events); }, &error);
  if (poll_ == nullptr) {
    ThrowPollError(info.Env(), error);
    return;
  }
  Opened();
  // No JavaScript runs any more that could close the listener.
  poll_->OnTeardown([this] {
    poll_ = nullptr;
    sockets::Close(fd_);
  });
  poll_->Poll(UV_READABLE | UV_DISCONNECT);
}

Napi::Value Listener::Words(const Napi::CallbackInfo&) { return Kept(kWords); }

void Listener::Close(const Napi::CallbackInfo&) {
  if (poll_ == nullptr) return;
  poll_->Close(Closing());
  poll_ = nullptr;
}

void Listener::Ready(int, int events) {
  if ((events & UV_READABLE) != 0) Serve();
  if ((events & UV_DISCONNECT) != 0 && poll_ != nullptr) Call(kOnEnd, {});
}

void Listener::Serve() {
  poll_next_.Begin();
  do {
    seccomp::Notification call;
    if (seccomp::Receive(fd_, &call) < 0) return;
    const bool proceeds = rights_.MayMove(call) || seccomp::IsOfAnother(call) ||
                          (begins_[0] == 0 && kernel_paths_.IsPassedBy(call));
    if (proceeds) {
      seccomp::Continue(fd_, call.id);
      continue;
    }
    // The cache answers only callers that have all their rights. Others may get a different
    // verdict.
    call.lost = rights_.Lost(call);
    const int answered =
        call.lost == 0 ? cache_->table()->Answer(fd_, call) : seccomp::VerdictCache::kNo;
    if (answered == seccomp::VerdictCache::kYes) continue;
    const Napi::HandleScope scope(Env());
    NotificationWords::Put(call, words_data_);
    Call(kOnCall, {Napi::Number::New(Env(), answered)});
  } while (poll_ != nullptr && poll_next_.Wait(fd_));
}

}  // namespace waep
