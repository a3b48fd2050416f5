// SPDX-License-Identifier: MIT
#include "executor_binding.h"

#include <cstring>

#include "arguments.h"

namespace waep {

Napi::Function ExecutorBinding::Define(Napi::Env env) {
  return DefineClass(env, "Executor",
                     {
                         InstanceMethod<&ExecutorBinding::Execute>("execute"),
                         InstanceMethod<&ExecutorBinding::Close>("close"),
                     });
}

ExecutorBinding::ExecutorBinding(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ExecutorBinding>(info) {
  const arguments::Bytes encoded = arguments::View(info[0]);
  cbor::Reader reader(encoded.data, encoded.size);
  Rules rules;
  if (!Rules::Decode(&reader, &rules) || !reader.AtEnd()) {
    Napi::TypeError::New(info.Env(),
                         "the rules are not encoded as addon/core/executor/rules.h says")
        .ThrowAsJavaScriptException();
    return;
  }
  const bool judges = info[1].ToBoolean();
  executor_ =
      std::make_unique<Executor>(std::move(rules), judges ? Executor::kNone : Executor::kReal);
  const int error = executor_->Prepare();
  if (error != 0) {
    executor_.reset();
    Napi::Error::New(info.Env(), "reserving memory failed with error " + std::to_string(error))
        .ThrowAsJavaScriptException();
  }
}

Napi::Value ExecutorBinding::Execute(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const arguments::Bytes bytes = arguments::View(info[0]);
  if (executor_ == nullptr || bytes.size < frame::kHeaderBytes) {
    Napi::TypeError::New(env, "expected an open executor and a whole frame")
        .ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const frame::Header header = frame::Parse(bytes.data);
  if (header.length != bytes.size - frame::kHeaderBytes) {
    Napi::TypeError::New(env, "the frame's length is not that of the bytes given")
        .ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const std::vector<iovec>& parts =
      executor_->Execute(header.type, header.id, bytes.data + frame::kHeaderBytes, header.length);
  size_t total = 0;
  for (const iovec& part : parts) total += part.iov_len;
  auto answer = Napi::Uint8Array::New(env, total);
  uint8_t* out = answer.Data();
  for (const iovec& part : parts) {
    std::memcpy(out, part.iov_base, part.iov_len);
    out += part.iov_len;
  }
  return answer;
}

void ExecutorBinding::Close(const Napi::CallbackInfo&) { executor_.reset(); }

}  // namespace waep
