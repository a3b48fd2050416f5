// SPDX-License-Identifier: MIT
#include "sockets_binding.h"

#include <errno.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <string>
#include <vector>

#include "../core/sockets.h"
#include "../core/supervisor/restraint.h"
#include "../core/unique_fd.h"
#include "arguments.h"

namespace waep {
namespace {

using arguments::Int;
using arguments::Uint;
using Info = Napi::CallbackInfo;

Napi::Value Number(const Info& info, double value) { return Napi::Number::New(info.Env(), value); }

void Store(const Info& info, size_t index, sockets::VsockName name) {
  const arguments::Bytes out = arguments::View(info[index]);
  if (out.size < 2 * sizeof(uint32_t)) return;
  auto* words = reinterpret_cast<uint32_t*>(out.data);
  words[0] = name.cid;
  words[1] = name.port;
}

Napi::Value VsockSocket(const Info& info) { return Number(info, sockets::VsockSocket()); }

Napi::Value VsockBind(const Info& info) {
  return Number(info, sockets::VsockBind(Int(info, 0), {Uint(info, 1), Uint(info, 2)}));
}

Napi::Value VsockConnect(const Info& info) {
  return Number(info, sockets::VsockConnect(Int(info, 0), {Uint(info, 1), Uint(info, 2)}));
}

Napi::Value VsockAccept(const Info& info) {
  sockets::VsockName peer;
  const int result = sockets::VsockAccept(Int(info, 0), &peer);
  if (result >= 0) Store(info, 1, peer);
  return Number(info, result);
}

Napi::Value VsockName(const Info& info) {
  sockets::VsockName name;
  const int result = sockets::VsockLocalName(Int(info, 0), &name);
  if (result >= 0) Store(info, 1, name);
  return Number(info, result);
}

Napi::Value VsockLocalCid(const Info& info) {
  uint32_t cid = 0;
  const int result = sockets::VsockLocalCid(&cid);
  return Number(info, result < 0 ? result : static_cast<double>(cid));
}

Napi::Value VsockSetBufferSize(const Info& info) {
  int64_t bytes = 0;
  napi_get_value_int64(info.Env(), info[1], &bytes);
  return Number(info, sockets::VsockSetBufferSize(Int(info, 0), static_cast<uint64_t>(bytes)));
}

Napi::Value VsockSetConnectTimeout(const Info& info) {
  return Number(info, sockets::VsockSetConnectTimeout(Int(info, 0), Uint(info, 1)));
}

Napi::Value Listen(const Info& info) {
  return Number(info, sockets::Listen(Int(info, 0), Int(info, 1)));
}

Napi::Value SocketError(const Info& info) {
  return Number(info, sockets::SocketError(Int(info, 0)));
}

Napi::Value Receive(const Info& info) {
  const arguments::Bytes buffer = arguments::View(info[1]);
  const size_t offset = Uint(info, 2);
  const size_t length = Uint(info, 3);
  if (offset > buffer.size || length > buffer.size - offset) return Number(info, -EINVAL);
  return Number(info,
                static_cast<double>(sockets::Receive(Int(info, 0), buffer.data + offset, length)));
}

Napi::Value Send(const Info& info) {
  const std::vector<iovec> parts = arguments::PartsFrom(info[1], Uint(info, 2));
  if (parts.empty()) return Number(info, 0);
  return Number(info, static_cast<double>(sockets::Send(Int(info, 0), parts.data(), parts.size())));
}

Napi::Value Shutdown(const Info& info) {
  return Number(info, sockets::Shutdown(Int(info, 0), Int(info, 1)));
}

Napi::Value Close(const Info& info) { return Number(info, sockets::Close(Int(info, 0))); }

Napi::Value Duplicate(const Info& info) { return Number(info, sockets::Duplicate(Int(info, 0))); }

// Makes both descriptors of a pair.
template <int (*make)(int[2])>
Napi::Value Pair(const Info& info) {
  const arguments::Bytes out = arguments::View(info[0]);
  if (out.size < 2 * sizeof(int)) return Number(info, -EINVAL);
  return Number(info, make(reinterpret_cast<int*>(out.data)));
}

Napi::Value SendMessage(const Info& info) {
  const std::vector<iovec> parts = arguments::Parts(info[1]);
  return Number(info, static_cast<double>(sockets::SendMessage(
                          Int(info, 0), parts.data(), parts.size(), Int(info, 2), MSG_DONTWAIT)));
}

Napi::Value ReceiveDescriptor(const Info& info) {
  uint8_t byte = 0;
  int descriptor = -1;
  const ssize_t got = sockets::ReceiveMessage(Int(info, 0), &byte, 1, &descriptor);
  if (got < 0) return Number(info, static_cast<double>(got));
  return Number(info, got == 0 ? -ECONNRESET : descriptor < 0 ? -EPROTO : descriptor);
}

// Sends to a datagram socket that has a path, or a name that begins with "@".
Napi::Value SendDatagram(const Info& info) {
  const std::string path = info[0].As<Napi::String>();
  const arguments::Bytes bytes = arguments::View(info[1]);
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof name.sun_path) return Number(info, -ENAMETOOLONG);
  path.copy(name.sun_path, path.size());
  if (path[0] == '@') name.sun_path[0] = '\0';
  const unique_fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return Number(info, -errno);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const ssize_t sent = ::sendto(fd.get(), bytes.data, bytes.size, MSG_NOSIGNAL,
                                reinterpret_cast<const sockaddr*>(&name), length);
  return Number(info, sent < 0 ? -errno : static_cast<double>(sent));
}

Napi::Value SetBlocking(const Info& info) {
  return Number(info, sockets::SetNonBlocking(Int(info, 0), !info[1].ToBoolean()));
}

Napi::Value SetTimeouts(const Info& info) {
  return Number(info, sockets::SetTimeouts(Int(info, 0), Uint(info, 1)));
}

Napi::Value SetNoDelay(const Info& info) {
  sockets::SetNoDelay(Int(info, 0));
  return Number(info, 0);
}

Napi::Value TryLock(const Info& info) {
  return Number(info, ::flock(Int(info, 0), LOCK_EX | LOCK_NB) < 0 ? -errno : 0);
}

}  // namespace

void ExportSockets(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Info&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("vsockSocket", VsockSocket);
  add("vsockBind", VsockBind);
  add("vsockConnect", VsockConnect);
  add("vsockAccept", VsockAccept);
  add("vsockName", VsockName);
  add("vsockLocalCid", VsockLocalCid);
  add("vsockSetBufferSize", VsockSetBufferSize);
  add("vsockSetConnectTimeout", VsockSetConnectTimeout);
  add("listen", Listen);
  add("socketError", SocketError);
  add("recv", Receive);
  add("send", Send);
  add("shutdown", Shutdown);
  add("close", Close);
  add("duplicate", Duplicate);
  add("pipe", Pair<sockets::Pipe>);
  add("socketPair", Pair<sockets::SocketPair>);
  add("deafPair", Pair<sockets::DeafPair>);
  add("messagePair", Pair<sockets::MessagePair>);
  add("sendMessage", SendMessage);
  add("receiveDescriptor", ReceiveDescriptor);
  add("sendDatagram", SendDatagram);
  add("setBlocking", SetBlocking);
  add("setTimeouts", SetTimeouts);
  add("setNoDelay", SetNoDelay);
  add("tryLock", TryLock);
  add("restrain", [](const Info& info) { return Number(info, Restrain()); });
  add("refuseRings", [](const Info& info) { return Number(info, RefuseRings()); });
  add("execute", [](const Info& info) {
    const std::string file = info[0].As<Napi::String>();
    std::vector<std::string> texts = arguments::Texts(info[1]);
    std::vector<char*> words;
    for (std::string& text : texts) words.push_back(text.data());
    words.push_back(nullptr);
    return Number(info, Execute(file.c_str(), words.data()));
  });
}

}  // namespace waep
