// SPDX-License-Identifier: MIT
#include "poller.h"

#include "../core/sockets.h"
#include "arguments.h"

namespace waep {
namespace {

// The index of the only value that a poller keeps.
constexpr size_t kCallback = 0;

}  // namespace

Napi::Function Poller::Define(Napi::Env env) {
  return DefineClass(env, "Poller",
                     {
                         InstanceMethod<&Poller::Poll>("poll"),
                         InstanceMethod<&Poller::DoRef>("ref"),
                         InstanceMethod<&Poller::DoUnref>("unref"),
                         InstanceMethod<&Poller::Close>("close"),
                     });
}

Poller::Poller(const Napi::CallbackInfo& info)
    : LoopObject(info, "waep:Poller"), fd_(arguments::Int(info, 0)) {
  Keep(kCallback, info[1]);
  int error = 0;
  poll_ = UvPoll::Create(
      info.Env(), fd_, [this](int status, int events) { Ready(status, events); }, &error);
  if (poll_ == nullptr) {
    ThrowPollError(info.Env(), error);
    return;
  }
  Opened();
  // No JavaScript runs any more that could close the poller.
  poll_->OnTeardown([this] {
    poll_ = nullptr;
    sockets::Close(fd_);
  });
}

Napi::Value Poller::Poll(const Napi::CallbackInfo& info) {
  const int result = poll_ == nullptr ? UV_EBADF : poll_->Poll(arguments::Int(info, 0));
  return Napi::Number::New(info.Env(), result);
}

void Poller::DoRef(const Napi::CallbackInfo&) {
  if (poll_ != nullptr) poll_->Ref();
}

void Poller::DoUnref(const Napi::CallbackInfo&) {
  if (poll_ != nullptr) poll_->Unref();
}

void Poller::Close(const Napi::CallbackInfo&) {
  if (poll_ == nullptr) return;
  poll_->Close(Closing());
  poll_ = nullptr;
}

void Poller::Ready(int status, int events) {
  const Napi::Env env = Env();
  Call(kCallback, {Napi::Number::New(env, status), Napi::Number::New(env, events)});
}

}  // namespace waep
