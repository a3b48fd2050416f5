// SPDX-License-Identifier: MIT
#include "verdict_cache_binding.h"

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

Napi::Function VerdictCacheBinding::Define(Napi::Env env) {
  return DefineClass(env, "VerdictCache",
                     {
                         InstanceAccessor<&VerdictCacheBinding::Key>("key"),
                         InstanceAccessor<&VerdictCacheBinding::Latest>("latest"),
                         InstanceAccessor<&VerdictCacheBinding::Size>("size"),
                         InstanceMethod<&VerdictCacheBinding::ReadKey>("read"),
                         InstanceMethod<&VerdictCacheBinding::Answer>("answer"),
                         InstanceMethod<&VerdictCacheBinding::Find>("find"),
                         InstanceMethod<&VerdictCacheBinding::Insert>("insert"),
                         InstanceMethod<&VerdictCacheBinding::Save>("save"),
                         InstanceMethod<&VerdictCacheBinding::Load>("load"),
                     });
}

VerdictCacheBinding::VerdictCacheBinding(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<VerdictCacheBinding>(info) {
  const arguments::Bytes words = arguments::View(info[0]);
  if (!table_.Describe(reinterpret_cast<const uint32_t*>(words.data), words.size / 4)) {
    Napi::TypeError::New(info.Env(), "the words are no recipe").ThrowAsJavaScriptException();
  }
}

Napi::Value VerdictCacheBinding::Key(const Napi::CallbackInfo& info) {
  return table_.key().empty() ? info.Env().Undefined() : Copy(info.Env(), table_.key());
}

Napi::Value VerdictCacheBinding::Latest(const Napi::CallbackInfo& info) {
  return Copy(info.Env(), table_.latest());
}

Napi::Value VerdictCacheBinding::Size(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(table_.size()));
}

Napi::Value VerdictCacheBinding::ReadKey(const Napi::CallbackInfo& info) {
  table_.Key(NotificationWords::Get(info[0]));
  return Key(info);
}

Napi::Value VerdictCacheBinding::Answer(const Napi::CallbackInfo& info) {
  const int listener = arguments::Int(info, 0);
  return Napi::Number::New(info.Env(), table_.Answer(listener, NotificationWords::Get(info[1])));
}

Napi::Value VerdictCacheBinding::Find(const Napi::CallbackInfo& info) {
  const auto* const outcome = table_.Find(Text(info[0]));
  if (outcome == nullptr) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), outcome->error);
}

Napi::Value VerdictCacheBinding::Insert(const Napi::CallbackInfo& info) {
  const bool notify = info[3].As<Napi::Boolean>().Value();
  const bool kept = table_.Insert(Text(info[0]), {arguments::Uint(info, 1), notify, Text(info[2])});
  return Napi::Boolean::New(info.Env(), kept);
}

Napi::Value VerdictCacheBinding::Save(const Napi::CallbackInfo& info) {
  auto file = Napi::Uint8Array::New(info.Env(), table_.SavedBytes());
  table_.Save(file.Data());
  return file;
}

Napi::Value VerdictCacheBinding::Load(const Napi::CallbackInfo& info) {
  const arguments::Bytes file = arguments::View(info[0]);
  loaded_.push_back(Napi::Persistent(info[0].As<Napi::Object>()));
  table_.Load(file.data, file.size);
  return info.Env().Undefined();
}

}  // namespace waep
