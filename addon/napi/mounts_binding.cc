// SPDX-License-Identifier: MIT
#include "mounts_binding.h"

#include <string>

#include "../core/executor/confinement.h"
#include "../core/executor/mounts.h"

namespace waep {
namespace {

using Info = Napi::CallbackInfo;

Napi::Value Number(const Info& info, int value) { return Napi::Number::New(info.Env(), value); }

std::string Text(const Info& info, size_t index) {
  return info[index].As<Napi::String>().Utf8Value();
}

Napi::Value LeaveMounts(const Info& info) { return Number(info, mounts::Leave()); }

Napi::Value Mount(const Info& info) {
  return Number(info, mounts::Mount(Text(info, 0).c_str(), Text(info, 1).c_str()));
}

Napi::Value BindMount(const Info& info) {
  return Number(info, mounts::Bind(Text(info, 0).c_str(), Text(info, 1).c_str()));
}

Napi::Value DropCapabilities(const Info& info) {
  return Number(info, confine::DropCapabilitiesOfAllThreads());
}

Napi::Value RefuseSystemCalls(const Info& info) {
  return Number(info, confine::RefuseSystemCalls(false));
}

}  // namespace

void ExportMounts(Napi::Env env, Napi::Object exports) {
  exports.Set("leaveMounts", Napi::Function::New<LeaveMounts>(env, "leaveMounts"));
  exports.Set("mount", Napi::Function::New<Mount>(env, "mount"));
  exports.Set("dropCapabilities", Napi::Function::New<DropCapabilities>(env, "dropCapabilities"));
  exports.Set("refuseSystemCalls",
              Napi::Function::New<RefuseSystemCalls>(env, "refuseSystemCalls"));
  exports.Set("bindMount", Napi::Function::New<BindMount>(env, "bindMount"));
}

}  // namespace waep
