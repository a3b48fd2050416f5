// SPDX-License-Identifier: MIT
#include "seccomp_binding.h"

#include <errno.h>
#include <sys/mman.h>

#include <algorithm>
#include <string>
#include <vector>

#include "../core/supervisor/caller_memory.h"
#include "../core/supervisor/links.h"
#include "../core/supervisor/netlink_socket.h"
#include "../core/supervisor/seccomp_listener.h"
#include "arguments.h"
#include "notification_words.h"

namespace waep {
namespace {

using arguments::Int;
using Info = Napi::CallbackInfo;

Napi::Value Number(const Info& info, double value) { return Napi::Number::New(info.Env(), value); }

uint64_t Word(const Napi::Value& value) {
  bool lossless = false;
  return value.As<Napi::BigInt>().Uint64Value(&lossless);
}

uint64_t Id(const Info& info) {
  const arguments::Bytes words = arguments::View(info[1]);
  return words.size < sizeof(uint64_t) ? 0 : *reinterpret_cast<const uint64_t*>(words.data);
}

Napi::Value SetSyncWakeUp(const Info& info) {
  return Number(info, seccomp::SetSyncWakeUp(Int(info, 0)));
}

Napi::Value Check(const Info& info) { return Number(info, seccomp::Check(Int(info, 0), Id(info))); }

Napi::Value Respond(const Info& info) {
  const auto value = info[2].As<Napi::Number>().Int64Value();
  return Number(info, seccomp::Respond(Int(info, 0), Id(info), value, Int(info, 3)));
}

Napi::Value Continue(const Info& info) {
  return Number(info, seccomp::Continue(Int(info, 0), Id(info)));
}

Napi::Value RespondDescriptor(const Info& info) {
  const bool close_on_exec = info[3].As<Napi::Boolean>().Value();
  return Number(info,
                seccomp::RespondDescriptor(Int(info, 0), Id(info), Int(info, 2), close_on_exec));
}

Napi::Value ReplaceDescriptor(const Info& info) {
  const bool close_on_exec = info[4].As<Napi::Boolean>().Value();
  return Number(info, seccomp::ReplaceDescriptor(Int(info, 0), Id(info), Int(info, 2), Int(info, 3),
                                                 close_on_exec));
}

Napi::Value ReadMemory(const Info& info) {
  const arguments::Bytes out = arguments::View(info[2]);
  return Number(info, static_cast<double>(
                          seccomp::ReadMemory(Int(info, 0), Word(info[1]), out.data, out.size)));
}

Napi::Value WriteMemory(const Info& info) {
  auto* const memory = info.Env().GetInstanceData<seccomp::CallerMemory>();
  const auto list = info[2].As<Napi::Array>();
  std::vector<seccomp::MemoryPart> parts;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const auto part = list.Get(i).As<Napi::Object>();
    const arguments::Bytes bytes = arguments::View(part.Get("bytes"));
    parts.push_back({Word(part.Get("address")), bytes.data, bytes.size});
  }
  return Number(info,
                static_cast<double>(memory->Write(Int(info, 0), NotificationWords::Get(info[1]),
                                                  parts.data(), parts.size())));
}

Napi::Value Identify(const Info& info) {
  uint64_t identity = 0;
  const int result = seccomp::Identify(Int(info, 0), Int(info, 1), &identity);
  return Number(info, result < 0 ? result : static_cast<double>(identity));
}

Napi::Value ShareMemory(const Info& info) {
  const auto size = static_cast<size_t>(info[0].As<Napi::Number>().Int64Value());
  const std::string name = info[1].IsString() ? info[1].As<Napi::String>() : std::string("waep");
  void* address = nullptr;
  const int result = seccomp::ShareMemory(size, name.c_str(), &address);
  if (result < 0) return Number(info, result);
  // The descriptor stays valid without the mapping, and the mapping without the descriptor.
  const auto buffer = Napi::ArrayBuffer::New(
      info.Env(), address, size, [size](Napi::Env, void* memory) { ::munmap(memory, size); });
  auto memory = Napi::Uint8Array::New(info.Env(), size, buffer, 0);
  memory.Set("fd", Napi::Number::New(info.Env(), result));
  return memory;
}

Napi::Value SealMemory(const Info& info) { return Number(info, seccomp::SealMemory(Int(info, 0))); }

Napi::Value FollowLink(const Info& info) {
  const std::string path = info[1].As<Napi::String>();
  const bool last = info[2].As<Napi::Boolean>().Value();
  return Napi::String::New(info.Env(), seccomp::FollowLink(Int(info, 0), path, last));
}

Napi::Value NetlinkOpen(const Info& info) { return Number(info, netlink::Open(Int(info, 0))); }

Napi::Value NetlinkPort(const Info& info) {
  return Number(info, static_cast<double>(netlink::Port(Int(info, 0), 0)));
}

Napi::Value TakeCopy(const Info& info) {
  return Number(info, netlink::TakeCopy(Int(info, 0), Int(info, 1)));
}

Napi::Value NetlinkTie(const Info& info) {
  const arguments::Bytes out = arguments::View(info[3]);
  if (out.size < 2 * sizeof(uint32_t)) return Number(info, -EINVAL);
  auto* const words = reinterpret_cast<uint32_t*>(out.data);
  return Number(info, netlink::Tie(Int(info, 0), Int(info, 1), arguments::Uint(info, 2), &words[0],
                                   &words[1]));
}

Napi::Value NetlinkDeliver(const Info& info) {
  const arguments::Bytes bytes = arguments::View(info[2]);
  return Number(info,
                netlink::Deliver(Int(info, 0), arguments::Uint(info, 1), bytes.data, bytes.size));
}

Napi::Value NetlinkReceive(const Info& info) {
  const arguments::Bytes out = arguments::View(info[1]);
  const bool peek = info[2].As<Napi::Boolean>().Value();
  return Number(info,
                static_cast<double>(netlink::Receive(Int(info, 0), out.data, out.size, peek)));
}

Napi::Value ReadableCopy(const Info& info) {
  return Number(info, seccomp::ReadableCopy(Int(info, 0)));
}
Napi::Value SetEvent(const Info& info) {
  return Number(info, seccomp::SetEvent(Int(info, 0), info[1].ToBoolean()));
}
Napi::Value MakeEvent(const Info& info) { return Number(info, seccomp::MakeEvent()); }

}  // namespace

void ExportSeccomp(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new seccomp::CallerMemory());
  const auto set = [&](const char* name, Napi::Value (*function)(const Info&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  set("seccompSetSyncWakeUp", SetSyncWakeUp);
  set("seccompCheck", Check);
  set("seccompRespond", Respond);
  set("seccompContinue", Continue);
  set("seccompRespondDescriptor", RespondDescriptor);
  set("seccompReplaceDescriptor", ReplaceDescriptor);
  set("readMemory", ReadMemory);
  set("writeMemory", WriteMemory);
  set("identify", Identify);
  set("shareMemory", ShareMemory);
  set("sealMemory", SealMemory);
  set("followLink", FollowLink);
  set("readableCopy", ReadableCopy);
  set("makeEvent", MakeEvent);
  set("setEvent", SetEvent);
  set("takeCopy", TakeCopy);
  set("netlinkOpen", NetlinkOpen);
  set("netlinkPort", NetlinkPort);
  set("netlinkTie", NetlinkTie);
  set("netlinkDeliver", NetlinkDeliver);
  set("netlinkReceive", NetlinkReceive);
}

}  // namespace waep
