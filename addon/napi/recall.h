// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include <vector>

#include "../core/recall.h"

namespace waep {

// `Recall` of src/native.ts.
class Recall : public Napi::ObjectWrap<Recall> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit Recall(const Napi::CallbackInfo& info);

  seccomp::RecallTable* table() { return &table_; }

 private:
  Napi::Value Key(const Napi::CallbackInfo& info);
  Napi::Value Latest(const Napi::CallbackInfo& info);
  Napi::Value Size(const Napi::CallbackInfo& info);
  Napi::Value ReadKey(const Napi::CallbackInfo& info);
  Napi::Value Answer(const Napi::CallbackInfo& info);
  Napi::Value Find(const Napi::CallbackInfo& info);
  Napi::Value Teach(const Napi::CallbackInfo& info);
  Napi::Value Save(const Napi::CallbackInfo& info);
  Napi::Value Load(const Napi::CallbackInfo& info);

  seccomp::RecallTable table_;
  // What the table refers to.
  std::vector<Napi::ObjectReference> loaded_;
};

}  // namespace waep
