// SPDX-License-Identifier: MIT
#pragma once

#include <napi.h>
#include <sys/uio.h>

#include <string>
#include <vector>

// TypeScript declares and checks the arguments (src/native.ts). These functions only convert.
namespace waep::arguments {

inline int32_t Int(const Napi::CallbackInfo& info, size_t index) {
  int32_t value = 0;
  napi_get_value_int32(info.Env(), info[index], &value);
  return value;
}

inline uint32_t Uint(const Napi::CallbackInfo& info, size_t index) {
  uint32_t value = 0;
  napi_get_value_uint32(info.Env(), info[index], &value);
  return value;
}

struct Bytes {
  uint8_t* data = nullptr;
  size_t size = 0;
};

// Returns the bytes of a typed array of any element type, or nothing.
inline Bytes View(const Napi::Value& value) {
  bool is_typed_array = false;
  napi_is_typedarray(value.Env(), value, &is_typed_array);
  if (!is_typed_array) return {};
  const auto array = value.As<Napi::TypedArray>();
  return {static_cast<uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset(),
          array.ByteLength()};
}

inline std::vector<std::string> Texts(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> texts;
  for (uint32_t i = 0; i < array.Length(); ++i) texts.push_back(array.Get(i).As<Napi::String>());
  return texts;
}

inline std::vector<iovec> Parts(const Napi::Value& value) {
  std::vector<iovec> parts;
  if (!value.IsArray()) return parts;
  const auto array = value.As<Napi::Array>();
  parts.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Bytes bytes = View(array.Get(i));
    if (bytes.size != 0) parts.push_back({bytes.data, bytes.size});
  }
  return parts;
}

// Returns the same parts without their first `skip` bytes.
inline std::vector<iovec> PartsFrom(const Napi::Value& value, size_t skip) {
  std::vector<iovec> parts = Parts(value);
  auto first = parts.begin();
  while (first != parts.end() && skip >= first->iov_len) skip -= (first++)->iov_len;
  parts.erase(parts.begin(), first);
  if (!parts.empty()) {
    parts.front().iov_base = static_cast<uint8_t*>(parts.front().iov_base) + skip;
    parts.front().iov_len -= skip;
  }
  return parts;
}

}  // namespace waep::arguments
