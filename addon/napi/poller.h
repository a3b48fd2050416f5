// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include "loop_object.h"

namespace waep {

// `Poller` of src/native.ts.
class Poller : public LoopObject<Poller, 1> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit Poller(const Napi::CallbackInfo& info);

 private:
  Napi::Value Poll(const Napi::CallbackInfo& info);
  void DoRef(const Napi::CallbackInfo& info);
  void DoUnref(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);
  void Ready(int status, int events);

  int fd_;
  UvPoll* poll_ = nullptr;
};

}  // namespace waep
