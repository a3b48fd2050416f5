// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>
#include <sys/uio.h>

#include <functional>
#include <memory>

#include "../core/unique_fd.h"

namespace waep {

// A connected stream and its watch on the event loop, for a Channel. Calls do not block, and return
// negative errno values.
class LoopStream {
 public:
  using Ready = std::function<void(int status, int events)>;

  virtual ~LoopStream() = default;
  virtual ssize_t Receive(void* buffer, size_t length) = 0;
  virtual ssize_t Send(const iovec* parts, size_t count) = 0;
  // Waits until bytes or the end can be received. Returns false when nothing came in time.
  virtual bool WaitReadable(int64_t timeout_ns) = 0;
  // Returns the error of the stream itself, or 0.
  virtual int Error() = 0;
  // Sets the events (libuv's) to watch for; 0 for none.
  virtual void Poll(int events) = 0;
  virtual void Ref() = 0;
  virtual void Unref() = 0;
  // Closes the stream. The loop calls `on_closed` when no function of the watch can be on the stack
  // any more, unless the environment is torn down first.
  virtual void Close(std::function<void()> on_closed) = 0;
  // Sets a function that is called if the environment is torn down before the owner closes the
  // stream.
  virtual void OnTeardown(std::function<void()> on_teardown) = 0;

  // Makes a stream from a kernel's descriptor. Returns null, with `*error` a negative errno, when
  // libuv refuses it.
  static std::unique_ptr<LoopStream> OfDescriptor(Napi::Env env, unique_fd fd, Ready ready,
                                                  int* error);
};

}  // namespace waep
