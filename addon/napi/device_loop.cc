// SPDX-License-Identifier: MIT
#include "device_loop.h"

#include <errno.h>

#include <utility>

namespace waep {

// A stream that native code has taken. The loop knows the stream until it is closed or destroyed.
class DeviceLoop::DeviceStream final : public LoopStream {
 public:
  DeviceStream(std::shared_ptr<DeviceLoop> loop, int stream, LoopStream::Ready ready)
      : loop_(std::move(loop)), stream_(stream), ready_(std::move(ready)) {
    loop_->taken_[stream_] = this;
    loop_->Hold();
  }
  ~DeviceStream() override { Detach(); }

  ssize_t Receive(void* buffer, size_t length) override {
    VsockDevice* const device = loop_->device();
    if (device == nullptr) return -ECONNABORTED;
    const ssize_t got = device->Receive(stream_, buffer, length);
    if (got != -EAGAIN) return got;
    device->Advance(stream_);
    return device->Receive(stream_, buffer, length);
  }
  ssize_t Send(const iovec* parts, size_t count) override {
    VsockDevice* const device = loop_->device();
    return device == nullptr ? -ECONNABORTED : device->Send(stream_, parts, count);
  }
  bool WaitReadable(int64_t timeout_ns) override {
    VsockDevice* const device = loop_->device();
    return device == nullptr || device->Wait(timeout_ns);
  }
  int Error() override {
    VsockDevice* const device = loop_->device();
    return device == nullptr ? -ECONNABORTED : device->Error(stream_);
  }
  void Poll(int events) override {
    VsockDevice* const device = loop_->device();
    if (device != nullptr) device->Watch(stream_, events);
  }
  void Ref() override {
    if (!std::exchange(held_, true)) loop_->Hold();
  }
  void Unref() override {
    if (std::exchange(held_, false)) loop_->LetGo();
  }
  void Close(std::function<void()> on_closed) override {
    VsockDevice* const device = loop_->device();
    if (device != nullptr) device->Close(stream_);
    const std::shared_ptr<DeviceLoop> loop = loop_;
    Detach();
    if (on_closed) loop->Defer(std::move(on_closed));
  }
  void OnTeardown(std::function<void()> on_teardown) override {
    on_teardown_ = std::move(on_teardown);
  }

  [[nodiscard]] const LoopStream::Ready& ready() const { return ready_; }
  void TornDown() {
    if (on_teardown_) std::exchange(on_teardown_, nullptr)();
  }

 private:
  void Detach() {
    if (std::exchange(detached_, true)) return;
    loop_->taken_.erase(stream_);
    Unref();
  }

  const std::shared_ptr<DeviceLoop> loop_;
  const int stream_;
  const LoopStream::Ready ready_;
  std::function<void()> on_teardown_;
  bool held_ = true;
  bool detached_ = false;
};

std::shared_ptr<DeviceLoop> DeviceLoop::Open(Napi::Env env, const char* path,
                                             const VsockDeviceOptions& options,
                                             VsockDevice::Callbacks callbacks, int* error) {
  auto loop = std::make_shared<DeviceLoop>();
  DeviceLoop* const self = loop.get();
  loop->callbacks_ = std::move(callbacks);
  VsockDevice::Callbacks own = {
      [self](int stream, int events) { self->Ready(stream, events); },
      [self](bool running) {
        if (!self->closed_) self->callbacks_.state(running);
      },
  };
  loop->device_ = VsockDevice::Open(path, options, std::move(own), error);
  if (loop->device_ == nullptr) return nullptr;
  loop->poll_ = UvPoll::Create(
      env, loop->device_->fd(), [self](int, int) { self->Turn(); }, error);
  if (loop->poll_ == nullptr) return nullptr;
  loop->poll_->Unref();
  loop->poll_->Poll(UV_READABLE);
  loop->poll_->OnTeardown([self] {
    const std::shared_ptr<DeviceLoop> alive = self->shared_from_this();
    self->poll_ = nullptr;
    self->closed_ = true;
    for (const auto& [stream, taken] : std::exchange(self->taken_, {})) taken->TornDown();
    self->device_.reset();
    if (self->on_teardown_) self->on_teardown_();
  });
  return loop;
}

std::unique_ptr<LoopStream> DeviceLoop::Take(int stream, LoopStream::Ready ready) {
  if (closed_) return nullptr;
  return std::make_unique<DeviceStream>(shared_from_this(), stream, std::move(ready));
}

void DeviceLoop::Hold() {
  if (holds_++ == 0 && poll_ != nullptr) poll_->Ref();
}

void DeviceLoop::LetGo() {
  if (--holds_ == 0 && poll_ != nullptr) poll_->Unref();
}

void DeviceLoop::Defer(std::function<void()> function) {
  if (poll_ == nullptr) return;
  deferred_.push_back(std::move(function));
  device_->Wake();
}

void DeviceLoop::Turn() {
  const std::shared_ptr<DeviceLoop> alive = shared_from_this();
  for (const auto& function : std::exchange(deferred_, {})) function();
  in_turn_ = true;
  device_->Run();
  in_turn_ = false;
  if (closed_) device_.reset();
}

void DeviceLoop::Ready(int stream, int events) {
  if (closed_) return;
  if (!Tell(stream, 0, events)) callbacks_.ready(stream, events);
}

bool DeviceLoop::Tell(int stream, int status, int events) {
  const auto taken = taken_.find(stream);
  if (taken == taken_.end()) return false;
  // The callback may close the stream.
  const LoopStream::Ready ready = taken->second->ready();
  ready(status, events);
  return true;
}

void DeviceLoop::Close(std::function<void()> on_closed) {
  if (closed_) return;
  closed_ = true;
  std::vector<int> streams;
  for (const auto& [stream, taken] : taken_) streams.push_back(stream);
  // A callback may close other streams, which are then not called.
  for (const int stream : streams) Tell(stream, -ECONNABORTED, 0);
  std::vector<std::function<void()>> deferred = std::exchange(deferred_, {});
  poll_->Close([deferred = std::move(deferred), on_closed = std::move(on_closed)] {
    for (const auto& function : deferred) function();
    if (on_closed) on_closed();
  });
  poll_ = nullptr;
  if (!in_turn_) device_.reset();
}

}  // namespace waep
