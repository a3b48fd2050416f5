// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "../core/transport/vsock_device.h"
#include "loop_stream.h"
#include "uv_poll.h"

namespace waep {

// A device in the event loop of the thread that made it.
class DeviceLoop final : public std::enable_shared_from_this<DeviceLoop> {
 public:
  // The loop calls `callbacks`. On failure this returns null, with `*error` a negative errno.
  static std::shared_ptr<DeviceLoop> Open(Napi::Env env, const char* path,
                                          const VsockDeviceOptions& options,
                                          VsockDevice::Callbacks callbacks, int* error);

  // Returns null after the device is closed.
  [[nodiscard]] VsockDevice* device() const { return closed_ ? nullptr : device_.get(); }
  // Takes a stream for native code. `ready` is called for its events instead of the general
  // callback, and with -ECONNABORTED when the device is closed. Returns null after the device is
  // closed.
  std::unique_ptr<LoopStream> Take(int stream, LoopStream::Ready ready);
  // Each hold keeps the loop alive until LetGo.
  void Hold();
  void LetGo();
  // Ends the device and all its streams. `on_closed` is called as in UvPoll::Close.
  void Close(std::function<void()> on_closed);
  // Sets a function that is called if the environment is torn down before the device is closed.
  void OnTeardown(std::function<void()> on_teardown) { on_teardown_ = std::move(on_teardown); }

 private:
  class DeviceStream;

  void Turn();
  void Ready(int stream, int events);
  // Calls the owner of a stream that native code has taken. Returns false if it has no such owner.
  bool Tell(int stream, int status, int events);
  void Defer(std::function<void()> function);

  std::unique_ptr<VsockDevice> device_;
  VsockDevice::Callbacks callbacks_;
  UvPoll* poll_ = nullptr;
  std::unordered_map<int, DeviceStream*> taken_;
  std::vector<std::function<void()>> deferred_;
  std::function<void()> on_teardown_;
  size_t holds_ = 0;
  bool in_turn_ = false;
  bool closed_ = false;
};

}  // namespace waep
