// SPDX-License-Identifier: MIT
#include "standby_socket.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "../sockets.h"

namespace waep::standby {
namespace {

constexpr int kBacklog = 64;

// Returns the length of the name, or -ENAMETOOLONG.
int NameOf(const char* address, sockaddr_un* name) {
  *name = {};
  name->sun_family = AF_UNIX;
  // The first byte stays zero: no file.
  constexpr size_t kRoom = sizeof name->sun_path - 1;
  const int length = ::snprintf(name->sun_path + 1, kRoom, "waep/%u/%s", ::geteuid(), address);
  if (length < 0 || static_cast<size_t>(length) >= kRoom) return -ENAMETOOLONG;
  return static_cast<int>(offsetof(sockaddr_un, sun_path)) + 1 + length;
}

// All zero if it cannot be found.
ucred PeerOf(int fd) {
  ucred peer = {};
  socklen_t length = sizeof peer;
  ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length);
  return peer;
}

bool IsTrusted(int fd) {
  const ucred peer = PeerOf(fd);
  // A process without an id here is in another PID namespace, and its files are not ours.
  return peer.pid != 0 && (peer.uid == ::geteuid() || peer.uid == 0);
}

int Fail(int fd) {
  const int error = errno;
  ::close(fd);
  return -error;
}

}  // namespace

int Listen(const char* address) {
  sockaddr_un name;
  const int length = NameOf(address, &name);
  if (length < 0) return length;
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&name), static_cast<socklen_t>(length)) < 0 ||
      ::listen(fd, kBacklog) < 0) {
    return Fail(fd);
  }
  return fd;
}

int Accept(int listener) {
  int fd;
  do {
    fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return -errno;
  if (IsTrusted(fd)) return fd;
  ::close(fd);
  return -EPERM;
}

ssize_t Receive(int control, char* name, int* output, pid_t* process) {
  const ssize_t got = sockets::ReceiveMessage(control, name, kMaxNameBytes, output);
  if (got < 0) return got;
  if (*output < 0) return got == 0 ? -ECONNRESET : -EPROTO;
  *process = PeerOf(control).pid;
  return got;
}

int Tell(int output, const char* text, size_t length) {
  // Other processes share the open file, so it cannot be made non-blocking. A pipe that poll(2)
  // reports as writable has room for PIPE_BUF bytes.
  if (length > PIPE_BUF) return -EAGAIN;
  pollfd ready = {output, POLLOUT, 0};
  if (::poll(&ready, 1, 0) <= 0) return -EAGAIN;
  return ::write(output, text, length) < 0 ? -errno : 0;
}

int Ask(const char* address, const char* name, int output) {
  sockaddr_un peer;
  const int length = NameOf(address, &peer);
  if (length < 0) return length;
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&peer), static_cast<socklen_t>(length)) < 0) {
    return Fail(fd);
  }
  if (!IsTrusted(fd)) {
    ::close(fd);
    return -EPERM;
  }
  const iovec part = {const_cast<char*>(name), std::min(::strlen(name), kMaxNameBytes)};
  const ssize_t sent = sockets::SendMessage(fd, &part, 1, output, 0);
  if (sent >= 0) return fd;
  ::close(fd);
  return static_cast<int>(sent);
}

bool Await(int control, long long* clock_ahead_ns) {
  char digits[32];
  const ssize_t got = sockets::Receive(control, digits, sizeof digits - 1);
  if (got <= 0) return false;
  digits[got] = '\0';
  char* end = nullptr;
  errno = 0;
  *clock_ahead_ns = ::strtoll(digits, &end, 10);
  return errno == 0 && end == digits + got;
}

}  // namespace waep::standby
