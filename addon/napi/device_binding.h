// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include <memory>

#include "device_loop.h"
#include "loop_object.h"

namespace waep {

// `Device` of src/native.ts.
class DeviceBinding : public LoopObject<DeviceBinding, 2> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit DeviceBinding(const Napi::CallbackInfo& info);

  [[nodiscard]] const std::shared_ptr<DeviceLoop>& loop() const { return loop_; }

 private:
  Napi::Value Running(const Napi::CallbackInfo& info);
  Napi::Value Connect(const Napi::CallbackInfo& info);
  Napi::Value Listen(const Napi::CallbackInfo& info);
  Napi::Value Accept(const Napi::CallbackInfo& info);
  Napi::Value Confirm(const Napi::CallbackInfo& info);
  Napi::Value Ports(const Napi::CallbackInfo& info);
  Napi::Value Watch(const Napi::CallbackInfo& info);
  Napi::Value Receive(const Napi::CallbackInfo& info);
  Napi::Value Send(const Napi::CallbackInfo& info);
  Napi::Value Shutdown(const Napi::CallbackInfo& info);
  Napi::Value CloseStream(const Napi::CallbackInfo& info);
  Napi::Value SocketError(const Napi::CallbackInfo& info);
  void Hold(const Napi::CallbackInfo& info);
  void LetGo(const Napi::CallbackInfo& info);
  void DoClose(const Napi::CallbackInfo& info);

  std::shared_ptr<DeviceLoop> loop_;
};

}  // namespace waep
