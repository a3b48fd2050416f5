// SPDX-License-Identifier: MIT
#include "loop_stream.h"

#include <utility>

#include "../core/sockets.h"
#include "uv_poll.h"

namespace waep {
namespace {

class DescriptorStream final : public LoopStream {
 public:
  DescriptorStream(unique_fd fd, UvPoll* poll) : fd_(std::move(fd)), poll_(poll) {}

  ssize_t Receive(void* buffer, size_t length) override {
    return sockets::Receive(fd_.get(), buffer, length);
  }
  ssize_t Send(const iovec* parts, size_t count) override {
    return sockets::Send(fd_.get(), parts, count);
  }
  bool WaitReadable(int64_t timeout_ns) override {
    return sockets::WaitReadable(fd_.get(), timeout_ns);
  }
  int Error() override { return sockets::SocketError(fd_.get()); }
  void Poll(int events) override { poll_->Poll(events); }
  void Ref() override { poll_->Ref(); }
  void Unref() override { poll_->Unref(); }
  void Close(std::function<void()> on_closed) override {
    poll_->Close(std::move(on_closed));
    fd_.reset();
  }
  void OnTeardown(std::function<void()> on_teardown) override {
    poll_->OnTeardown(std::move(on_teardown));
  }

 private:
  unique_fd fd_;
  UvPoll* poll_;
};

}  // namespace

std::unique_ptr<LoopStream> LoopStream::OfDescriptor(Napi::Env env, unique_fd fd, Ready ready,
                                                     int* error) {
  sockets::SetNonBlocking(fd.get(), true);
  sockets::SetNoDelay(fd.get());
  UvPoll* const poll = UvPoll::Create(env, fd.get(), std::move(ready), error);
  if (poll == nullptr) return nullptr;
  return std::make_unique<DescriptorStream>(std::move(fd), poll);
}

}  // namespace waep
