// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>
#include <uv.h>

#include <functional>

namespace waep {

// A uv_poll_t with the lifetime that libuv asks for: the memory outlives uv_close's callback, and
// the handle is closed when its environment (a worker, say) is torn down before its owner is.
class UvPoll {
 public:
  using Callback = std::function<void(int status, int events)>;

  // Returns null, with `*error` a negative errno, when libuv refuses the descriptor.
  static UvPoll* Create(Napi::Env env, int fd, Callback callback, int* error);

  // 0 pauses the watch. Returns 0 or a negative errno.
  int Poll(int events);
  void Ref();
  void Unref();
  // Ends the watch at once; the object frees itself. `on_closed` is called from the loop, once
  // nothing of the watch can be on the stack any more, unless the environment is torn down first.
  void Close(std::function<void()> on_closed);
  // Called instead of the owner's own Close when the environment goes first.
  void OnTeardown(std::function<void()> on_teardown) { on_teardown_ = std::move(on_teardown); }

 private:
  UvPoll(Napi::Env env, Callback callback) : env_(env), callback_(std::move(callback)) {}

  Napi::Env env_;
  uv_poll_t handle_ = {};
  Callback callback_;
  std::function<void()> on_teardown_;
  std::function<void()> on_closed_;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  bool closing_ = false;
};

// Calls `function` from the event loop; an exception in it becomes an uncaughtException, as for
// any other callback of Node's.
void MakeCallback(Napi::Env env, napi_value function, Napi::AsyncContext& context,
                  std::initializer_list<napi_value> args);

// Throws the system error of a descriptor that cannot be watched.
void ThrowPollError(Napi::Env env, int error);

}  // namespace waep
