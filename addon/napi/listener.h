// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include "../core/supervisor/adaptive_poll.h"
#include "../core/supervisor/links.h"
#include "../core/supervisor/seccomp_listener.h"
#include "loop_object.h"
#include "verdict_cache_binding.h"

namespace waep {

// `Listener` of src/native.ts.
class Listener : public LoopObject<Listener, 5> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit Listener(const Napi::CallbackInfo& info);

 private:
  Napi::Value Words(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);
  void Ready(int status, int events);
  void Serve();

  int fd_;
  VerdictCacheBinding* cache_;
  uint64_t* words_data_;
  seccomp::KernelPaths kernel_paths_;
  const uint8_t* begins_;
  seccomp::Rights rights_;
  AdaptivePoll poll_next_;
  UvPoll* poll_ = nullptr;
};

}  // namespace waep
