// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>

#include <array>
#include <functional>

#include "uv_poll.h"

namespace waep {

// A JavaScript object that the event loop calls. It keeps the values that it needs for this: its
// callbacks, and the buffers that it fills.
//
// Between Opened() and the end of Closing() the loop holds the object, and the object keeps its
// values. Afterwards neither does. Callbacks usually refer back to the object. If it kept them, it
// would never be collected before the environment ends.
template <typename T, size_t kValues>
class LoopObject : public Napi::ObjectWrap<T> {
 protected:
  LoopObject(const Napi::CallbackInfo& info, const char* name)
      : Napi::ObjectWrap<T>(info), context_(info.Env(), name) {}

  void Keep(size_t index, const Napi::Value& value) {
    kept_[index] = Napi::Persistent(value.As<Napi::Object>());
  }
  void Drop(size_t index) { kept_[index].Reset(); }
  // Returns the value, or an empty one if it is not kept.
  [[nodiscard]] Napi::Value Kept(size_t index) const { return kept_[index].Value(); }
  // Calls a kept value. A handle scope must be open.
  void Call(size_t index, std::initializer_list<napi_value> args) {
    MakeCallback(this->Env(), Kept(index), context_, args);
  }

  // From here on, the loop may call the object.
  void Opened() { this->Ref(); }
  // Returns a function that releases the object and its values. The loop must call it once, when no
  // function of the object can be on the stack any more.
  std::function<void()> Closing() {
    return [this] {
      for (auto& value : kept_) value.Reset();
      this->Unref();
    };
  }

 private:
  std::array<Napi::ObjectReference, kValues> kept_;
  Napi::AsyncContext context_;
};

}  // namespace waep
