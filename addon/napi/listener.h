// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include "../core/lookout.h"
#include "recall.h"
#include "uv_poll.h"

namespace waep {

// `Listener` of src/native.ts.
class Listener : public Napi::ObjectWrap<Listener> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit Listener(const Napi::CallbackInfo& info);

 private:
  Napi::Value Words(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);
  void Ready(int status, int events);
  void Serve();

  int fd_;
  Napi::ObjectReference recall_object_;
  Recall* recall_;
  Napi::FunctionReference on_call_;
  Napi::FunctionReference on_end_;
  Napi::Reference<Napi::BigUint64Array> words_;
  uint64_t* words_data_;
  Napi::AsyncContext context_;
  Lookout lookout_;
  UvPoll* poll_ = nullptr;
};

}  // namespace waep
