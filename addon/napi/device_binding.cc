// SPDX-License-Identifier: MIT
#include "device_binding.h"

#include <errno.h>

#include <string>
#include <utility>

#include "arguments.h"

namespace waep {
namespace {

using arguments::Int;
using arguments::Uint;
using Info = Napi::CallbackInfo;

// The values that a device keeps.
enum Value : size_t { kOnReady, kOnState };

Napi::Value Number(const Info& info, double value) { return Napi::Number::New(info.Env(), value); }

}  // namespace

Napi::Function DeviceBinding::Define(Napi::Env env) {
  return DefineClass(env, "Device",
                     {
                         InstanceAccessor<&DeviceBinding::Running>("running"),
                         InstanceMethod<&DeviceBinding::Connect>("connect"),
                         InstanceMethod<&DeviceBinding::Listen>("listen"),
                         InstanceMethod<&DeviceBinding::Accept>("accept"),
                         InstanceMethod<&DeviceBinding::Confirm>("confirm"),
                         InstanceMethod<&DeviceBinding::Ports>("ports"),
                         InstanceMethod<&DeviceBinding::Watch>("watch"),
                         InstanceMethod<&DeviceBinding::Receive>("recv"),
                         InstanceMethod<&DeviceBinding::Send>("send"),
                         InstanceMethod<&DeviceBinding::Shutdown>("shutdown"),
                         InstanceMethod<&DeviceBinding::CloseStream>("closeStream"),
                         InstanceMethod<&DeviceBinding::SocketError>("socketError"),
                         InstanceMethod<&DeviceBinding::Hold>("hold"),
                         InstanceMethod<&DeviceBinding::LetGo>("letGo"),
                         InstanceMethod<&DeviceBinding::DoClose>("close"),
                     });
}

DeviceBinding::DeviceBinding(const Info& info) : LoopObject(info, "waep:Device") {
  Keep(kOnReady, info[2]);
  Keep(kOnState, info[3]);
  const Napi::Env env = info.Env();
  const std::string path = info[0].As<Napi::String>();
  const auto settings = info[1].As<Napi::Object>();
  const auto setting = [&settings](const char* name) {
    return settings.Get(name).As<Napi::Number>().Uint32Value();
  };
  VsockDeviceOptions options;
  options.guest_cid = setting("guestCid");
  options.buffer_bytes = setting("bufferBytes");
  options.max_connections = setting("maxConnections");
  VsockDevice::Callbacks callbacks = {
      [this](int stream, int events) {
        Call(kOnReady, {Napi::Number::New(Env(), stream), Napi::Number::New(Env(), events)});
      },
      [this](bool running) { Call(kOnState, {Napi::Boolean::New(Env(), running)}); },
  };
  int error = 0;
  loop_ = DeviceLoop::Open(env, path.c_str(), options, std::move(callbacks), &error);
  if (loop_ == nullptr) {
    Napi::Error failure = Napi::Error::New(env, uv_strerror(error));
    failure.Set("errno", Napi::Number::New(env, error));
    failure.Set("code", Napi::String::New(env, uv_err_name(error)));
    failure.Set("syscall", Napi::String::New(env, "listen"));
    failure.ThrowAsJavaScriptException();
    return;
  }
  Opened();
}

Napi::Value DeviceBinding::Running(const Info& info) {
  const VsockDevice* const device = loop_->device();
  return Napi::Boolean::New(info.Env(), device != nullptr && device->running());
}

Napi::Value DeviceBinding::Connect(const Info& info) {
  VsockDevice* const device = loop_->device();
  return Number(info, device == nullptr ? -EBADF : device->Connect(Uint(info, 0), Uint(info, 1)));
}

Napi::Value DeviceBinding::Listen(const Info& info) {
  VsockDevice* const device = loop_->device();
  return Number(info, device == nullptr ? -EBADF : device->Listen(Uint(info, 0), Uint(info, 1)));
}

Napi::Value DeviceBinding::Accept(const Info& info) {
  VsockDevice* const device = loop_->device();
  return Number(info, device == nullptr ? -EBADF : device->Accept(Int(info, 0)));
}

Napi::Value DeviceBinding::Confirm(const Info& info) {
  VsockDevice* const device = loop_->device();
  return Number(info, device == nullptr ? -EBADF : device->Confirm(Int(info, 0)));
}

Napi::Value DeviceBinding::Ports(const Info& info) {
  VsockDevice* const device = loop_->device();
  const arguments::Bytes out = arguments::View(info[1]);
  if (device == nullptr || out.size < 2 * sizeof(uint32_t)) return Number(info, -EBADF);
  auto* const words = reinterpret_cast<uint32_t*>(out.data);
  return Number(info, device->Ports(Int(info, 0), &words[0], &words[1]));
}

Napi::Value DeviceBinding::Watch(const Info& info) {
  VsockDevice* const device = loop_->device();
  return Number(info, device == nullptr ? -EBADF : device->Watch(Int(info, 0), Int(info, 1)));
}

Napi::Value DeviceBinding::Receive(const Info& info) {
  VsockDevice* const device = loop_->device();
  if (device == nullptr) return Number(info, -ECONNABORTED);
  const arguments::Bytes buffer = arguments::View(info[1]);
  const size_t offset = Uint(info, 2);
  const size_t length = Uint(info, 3);
  if (offset > buffer.size || length > buffer.size - offset) return Number(info, -EINVAL);
  return Number(info,
                static_cast<double>(device->Receive(Int(info, 0), buffer.data + offset, length)));
}

Napi::Value DeviceBinding::Send(const Info& info) {
  VsockDevice* const device = loop_->device();
  if (device == nullptr) return Number(info, -ECONNABORTED);
  std::vector<iovec> parts = arguments::PartsFrom(info[1], Uint(info, 2));
  return Number(info, static_cast<double>(device->Send(Int(info, 0), parts.data(), parts.size())));
}

Napi::Value DeviceBinding::Shutdown(const Info& info) {
  VsockDevice* const device = loop_->device();
  return Number(info, device == nullptr ? -ENOTCONN : device->Shutdown(Int(info, 0), Int(info, 1)));
}

Napi::Value DeviceBinding::CloseStream(const Info& info) {
  VsockDevice* const device = loop_->device();
  return Number(info, device == nullptr ? -EBADF : device->Close(Int(info, 0)));
}

Napi::Value DeviceBinding::SocketError(const Info& info) {
  VsockDevice* const device = loop_->device();
  return Number(info, device == nullptr ? -ECONNABORTED : device->Error(Int(info, 0)));
}

void DeviceBinding::Hold(const Info&) { loop_->Hold(); }

void DeviceBinding::LetGo(const Info&) { loop_->LetGo(); }

void DeviceBinding::DoClose(const Info&) { loop_->Close(Closing()); }

}  // namespace waep
