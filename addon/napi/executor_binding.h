// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include <memory>

#include "../core/executor/executor.h"

namespace waep {

// `Executor` of src/native.ts.
class ExecutorBinding : public Napi::ObjectWrap<ExecutorBinding> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit ExecutorBinding(const Napi::CallbackInfo& info);

 private:
  Napi::Value Execute(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);

  std::unique_ptr<Executor> executor_;
};

}  // namespace waep
