// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include "uv_poll.h"

namespace waep {

// `Poller` of src/native.ts.
class Poller : public Napi::ObjectWrap<Poller> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit Poller(const Napi::CallbackInfo& info);

 private:
  Napi::Value Poll(const Napi::CallbackInfo& info);
  void DoRef(const Napi::CallbackInfo& info);
  void DoUnref(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);
  void Ready(int status, int events);

  Napi::FunctionReference callback_;
  Napi::AsyncContext context_;
  int fd_;
  UvPoll* poll_ = nullptr;
};

}  // namespace waep
