// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>
#include <uv.h>

#include <functional>

namespace waep {

// A uv_poll_t with the lifetime that libuv needs. Its memory outlives the callback of uv_close. If
// its environment (such as a worker) is torn down before its owner closes it, it is closed then.
class UvPoll {
 public:
  using Callback = std::function<void(int status, int events)>;

  // Returns null, with `*error` a negative errno, if libuv refuses the descriptor.
  static UvPoll* Create(Napi::Env env, int fd, Callback callback, int* error);

  // Sets the events to watch for; 0 pauses the watch. Returns 0 or a negative errno.
  int Poll(int events);
  void Ref();
  void Unref();
  // Ends the watch at once. The object frees itself. The loop calls `on_closed` when no function of
  // the watch can be on the stack any more, unless the environment is torn down first.
  void Close(std::function<void()> on_closed);
  // Sets a function that is called if the environment is torn down before the owner closes the
  // watch.
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

// Calls `function` from the event loop. An exception in it becomes an uncaughtException, as for
// other callbacks of Node.
void MakeCallback(Napi::Env env, napi_value function, Napi::AsyncContext& context,
                  std::initializer_list<napi_value> args);

// Throws the system error of a descriptor that cannot be watched.
void ThrowPollError(Napi::Env env, int error);

}  // namespace waep
