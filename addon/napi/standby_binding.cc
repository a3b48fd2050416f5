// SPDX-License-Identifier: MIT
#include "standby_binding.h"

#include <errno.h>

#include <string>

#include "../core/supervisor/standby_socket.h"
#include "arguments.h"

namespace waep {
namespace {

using arguments::Int;
using Info = Napi::CallbackInfo;

Napi::Value Listen(const Info& info) {
  const std::string address = info[0].As<Napi::String>();
  return Napi::Number::New(info.Env(), standby::Listen(address.c_str()));
}

Napi::Value Accept(const Info& info) {
  return Napi::Number::New(info.Env(), standby::Accept(Int(info, 0)));
}

Napi::Value Receive(const Info& info) {
  const arguments::Bytes name = arguments::View(info[1]);
  const arguments::Bytes output = arguments::View(info[2]);
  if (name.size < standby::kMaxNameBytes || output.size < 2 * sizeof(int)) {
    return Napi::Number::New(info.Env(), -EINVAL);
  }
  const ssize_t got = standby::Receive(Int(info, 0), reinterpret_cast<char*>(name.data),
                                       reinterpret_cast<int*>(output.data),
                                       reinterpret_cast<pid_t*>(output.data) + 1);
  return Napi::Number::New(info.Env(), static_cast<double>(got));
}

Napi::Value Tell(const Info& info) {
  const arguments::Bytes text = arguments::View(info[1]);
  const int result =
      standby::Tell(Int(info, 0), reinterpret_cast<const char*>(text.data), text.size);
  return Napi::Number::New(info.Env(), result);
}

}  // namespace

void ExportStandby(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Info&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("standbyListen", Listen);
  add("standbyAccept", Accept);
  add("standbyReceive", Receive);
  add("standbyTell", Tell);
}

}  // namespace waep
