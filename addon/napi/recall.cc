// SPDX-License-Identifier: MIT
#include "recall.h"

#include <algorithm>
#include <utility>

#include "arguments.h"
#include "notification_words.h"

namespace waep {
namespace {

Napi::Value Copy(Napi::Env env, std::string_view bytes) {
  auto copy = Napi::Uint8Array::New(env, bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.Data());
  return copy;
}

std::string_view Text(const Napi::Value& value) {
  const arguments::Bytes bytes = arguments::View(value);
  return {reinterpret_cast<const char*>(bytes.data), bytes.size};
}

}  // namespace

Napi::Function Recall::Define(Napi::Env env) {
  return DefineClass(env, "Recall",
                     {
                         InstanceAccessor<&Recall::Key>("key"),
                         InstanceAccessor<&Recall::Latest>("latest"),
                         InstanceAccessor<&Recall::Size>("size"),
                         InstanceMethod<&Recall::ReadKey>("read"),
                         InstanceMethod<&Recall::Answer>("answer"),
                         InstanceMethod<&Recall::Find>("find"),
                         InstanceMethod<&Recall::Teach>("teach"),
                         InstanceMethod<&Recall::Save>("save"),
                         InstanceMethod<&Recall::Load>("load"),
                     });
}

Recall::Recall(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Recall>(info) {
  const arguments::Bytes words = arguments::View(info[0]);
  if (!table_.Describe(reinterpret_cast<const uint32_t*>(words.data), words.size / 4)) {
    Napi::TypeError::New(info.Env(), "the words are no recipe").ThrowAsJavaScriptException();
  }
}

Napi::Value Recall::Key(const Napi::CallbackInfo& info) {
  return table_.key().empty() ? info.Env().Undefined() : Copy(info.Env(), table_.key());
}

Napi::Value Recall::Latest(const Napi::CallbackInfo& info) {
  return Copy(info.Env(), table_.latest());
}

Napi::Value Recall::Size(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(table_.size()));
}

Napi::Value Recall::ReadKey(const Napi::CallbackInfo& info) {
  table_.Key(NotificationWords::Get(info[0]));
  return Key(info);
}

Napi::Value Recall::Answer(const Napi::CallbackInfo& info) {
  const int listener = arguments::Int(info, 0);
  return Napi::Number::New(info.Env(), table_.Answer(listener, NotificationWords::Get(info[1])));
}

Napi::Value Recall::Find(const Napi::CallbackInfo& info) {
  const auto* const outcome = table_.Find(Text(info[0]));
  if (outcome == nullptr) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), outcome->error);
}

Napi::Value Recall::Teach(const Napi::CallbackInfo& info) {
  const bool telling = info[3].As<Napi::Boolean>().Value();
  const bool kept = table_.Teach(Text(info[0]), {arguments::Uint(info, 1), telling, Text(info[2])});
  return Napi::Boolean::New(info.Env(), kept);
}

Napi::Value Recall::Save(const Napi::CallbackInfo& info) {
  auto file = Napi::Uint8Array::New(info.Env(), table_.SavedBytes());
  table_.Save(file.Data());
  return file;
}

Napi::Value Recall::Load(const Napi::CallbackInfo& info) {
  const arguments::Bytes file = arguments::View(info[0]);
  loaded_.push_back(Napi::Persistent(info[0].As<Napi::Object>()));
  table_.Load(file.data, file.size);
  return info.Env().Undefined();
}

}  // namespace waep
