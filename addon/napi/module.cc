// SPDX-License-Identifier: MIT
#include <napi.h>

#include "channel.h"
#include "device_binding.h"
#include "executor_binding.h"
#include "listener.h"
#include "mounts_binding.h"
#include "poller.h"
#include "seccomp_binding.h"
#include "sockets_binding.h"
#include "standby_binding.h"
#include "verdict_cache_binding.h"

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  waep::ExportSockets(env, exports);
  waep::ExportMounts(env, exports);
  waep::ExportSeccomp(env, exports);
  waep::ExportStandby(env, exports);
  exports.Set("Channel", waep::Channel::Define(env));
  exports.Set("Device", waep::DeviceBinding::Define(env));
  exports.Set("Executor", waep::ExecutorBinding::Define(env));
  exports.Set("Listener", waep::Listener::Define(env));
  exports.Set("VerdictCache", waep::VerdictCacheBinding::Define(env));
  exports.Set("Poller", waep::Poller::Define(env));
  return exports;
}

NODE_API_MODULE(waep, Init)
