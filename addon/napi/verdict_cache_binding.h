// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include <vector>

#include "../core/supervisor/verdict_cache.h"

namespace waep {

// `VerdictCache` of src/native.ts.
class VerdictCacheBinding : public Napi::ObjectWrap<VerdictCacheBinding> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit VerdictCacheBinding(const Napi::CallbackInfo& info);

  seccomp::VerdictCache* table() { return &table_; }

 private:
  Napi::Value Key(const Napi::CallbackInfo& info);
  Napi::Value Latest(const Napi::CallbackInfo& info);
  Napi::Value Size(const Napi::CallbackInfo& info);
  Napi::Value ReadKey(const Napi::CallbackInfo& info);
  Napi::Value Answer(const Napi::CallbackInfo& info);
  Napi::Value Find(const Napi::CallbackInfo& info);
  Napi::Value Insert(const Napi::CallbackInfo& info);
  Napi::Value Save(const Napi::CallbackInfo& info);
  Napi::Value Load(const Napi::CallbackInfo& info);

  seccomp::VerdictCache table_;
  // The buffers that the table refers to.
  std::vector<Napi::ObjectReference> loaded_;
};

}  // namespace waep
