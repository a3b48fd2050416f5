// SPDX-License-Identifier: MIT
#include "uv_poll.h"

#include <utility>

namespace waep {

UvPoll* UvPoll::Create(Napi::Env env, int fd, Callback callback, int* error) {
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  auto* poll = new UvPoll(env, std::move(callback));
  *error = uv_poll_init(loop, &poll->handle_, fd);
  if (*error != 0) {
    delete poll;
    return nullptr;
  }
  poll->handle_.data = poll;
  napi_add_async_cleanup_hook(
      env,
      [](napi_async_cleanup_hook_handle, void* data) {
        auto* self = static_cast<UvPoll*>(data);
        if (self->closing_) {
          self->on_closed_ = nullptr;
          return;
        }
        auto on_teardown = std::move(self->on_teardown_);
        self->Close(nullptr);
        if (on_teardown) on_teardown();
      },
      poll, &poll->cleanup_);
  return poll;
}

int UvPoll::Poll(int events) {
  if (closing_) return UV_EBADF;
  if (events == 0) return uv_poll_stop(&handle_);
  return uv_poll_start(&handle_, events, [](uv_poll_t* handle, int status, int ready) {
    auto* self = static_cast<UvPoll*>(handle->data);
    const Napi::HandleScope scope(self->env_);
    self->callback_(status, ready);
  });
}

void UvPoll::Ref() {
  if (!closing_) uv_ref(reinterpret_cast<uv_handle_t*>(&handle_));
}

void UvPoll::Unref() {
  if (!closing_) uv_unref(reinterpret_cast<uv_handle_t*>(&handle_));
}

void UvPoll::Close(std::function<void()> on_closed) {
  if (closing_) return;
  closing_ = true;
  on_closed_ = std::move(on_closed);
  uv_poll_stop(&handle_);
  uv_close(reinterpret_cast<uv_handle_t*>(&handle_), [](uv_handle_t* handle) {
    auto* self = static_cast<UvPoll*>(handle->data);
    napi_remove_async_cleanup_hook(self->cleanup_);
    if (self->on_closed_) {
      const Napi::HandleScope scope(self->env_);
      self->on_closed_();
    }
    delete self;
  });
}

void MakeCallback(Napi::Env env, napi_value function, Napi::AsyncContext& context,
                  std::initializer_list<napi_value> args) {
  napi_value global;
  napi_get_global(env, &global);
  const napi_status status =
      napi_make_callback(env, context, global, function, args.size(), args.begin(), nullptr);
  if (status == napi_pending_exception) {
    napi_value exception;
    napi_get_and_clear_last_exception(env, &exception);
    napi_fatal_exception(env, exception);
  }
}

void ThrowPollError(Napi::Env env, int error) {
  Napi::Error failure = Napi::Error::New(env, uv_strerror(error));
  failure.Set("errno", Napi::Number::New(env, error));
  failure.Set("code", Napi::String::New(env, uv_err_name(error)));
  failure.Set("syscall", Napi::String::New(env, "poll"));
  failure.ThrowAsJavaScriptException();
}

}  // namespace waep
