// SPDX-License-Identifier: MIT
#include "netlink_socket.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../unique_fd.h"

namespace waep::netlink {
namespace {

// The answers of a kernel to a request wait in the program's socket.
constexpr int kReceiveBytes = 4 << 20;

sockaddr_nl Address(uint32_t port) {
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_pid = port;
  return address;
}

int Bind(int socket, uint32_t port) {
  const sockaddr_nl address = Address(port);
  return ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0 ? -errno
                                                                                         : 0;
}

// Returns a socket's own port or that of its peer.
int64_t PortBy(int (*ask)(int, sockaddr*, socklen_t*), int socket) {
  sockaddr_nl address = {};
  socklen_t length = sizeof address;
  if (ask(socket, reinterpret_cast<sockaddr*>(&address), &length) < 0) return -errno;
  return address.nl_pid;
}

pid_t ProcessOf(pid_t thread) {
  char path[64];
  ::snprintf(path, sizeof path, "/proc/%d/status", thread);
  FILE* const file = ::fopen(path, "re");
  if (file == nullptr) return -1;
  pid_t process = -1;
  char line[256];
  while (process < 0 && ::fgets(line, sizeof line, file) != nullptr) {
    if (::strncmp(line, "Tgid:", 5) == 0)
      process = static_cast<pid_t>(::strtol(line + 5, nullptr, 10));
  }
  ::fclose(file);
  return process;
}

}  // namespace

int Open(int type) {
  const int made = ::socket(AF_NETLINK, type, NETLINK_USERSOCK);
  if (made < 0) return -errno;
  // The first needs a privilege. Without it, long answers wait in this process.
  const int size = kReceiveBytes;
  if (::setsockopt(made, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0) {
    ::setsockopt(made, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  }
  return made;
}

int64_t Port(int socket, uint32_t wanted) {
  const int64_t has = PortBy(::getsockname, socket);
  if (has != 0) return has;
  if (Bind(socket, wanted) < 0) {
    const int error = Bind(socket, 0);
    if (error < 0) return error;
  }
  return PortBy(::getsockname, socket);
}

int TakeCopy(pid_t thread, int descriptor) {
  const pid_t process = ProcessOf(thread);
  if (process < 0) return -ESRCH;
  const unique_fd opened(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
  if (!opened.valid()) return -errno;
  const auto copy = static_cast<int>(::syscall(SYS_pidfd_getfd, opened.get(), descriptor, 0));
  return copy < 0 ? -errno : copy;
}

int Tie(int socket, pid_t thread, uint32_t from, uint32_t* port, uint32_t* options) {
  const pid_t process = ProcessOf(thread);
  const int64_t own = Port(socket, process < 0 ? 0 : static_cast<uint32_t>(process));
  if (own < 0) return static_cast<int>(own);
  *port = static_cast<uint32_t>(own);
  if (PortBy(::getpeername, socket) != from) {
    const sockaddr_nl address = Address(from);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
      return -errno;
    }
    while (::recv(socket, nullptr, 0, MSG_DONTWAIT) >= 0) continue;
  }
  static constexpr int kOptions[] = {NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK};
  *options = 0;
  uint32_t bit = 1;
  for (const int option : kOptions) {
    int on = 0;
    socklen_t length = sizeof on;
    if (::getsockopt(socket, SOL_NETLINK, option, &on, &length) == 0 && on != 0) *options |= bit;
    bit <<= 1;
  }
  return 0;
}

int Deliver(int socket, uint32_t port, const void* bytes, size_t length) {
  const sockaddr_nl address = Address(port);
  const ssize_t sent = ::sendto(socket, bytes, length, MSG_DONTWAIT,
                                reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return sent < 0 ? -errno : 0;
}

ssize_t Receive(int socket, void* buffer, size_t length, bool peek) {
  const int flags = MSG_DONTWAIT | MSG_TRUNC | (peek ? MSG_PEEK : 0);
  const ssize_t got = ::recv(socket, buffer, length, flags);
  return got < 0 ? -errno : got;
}

}  // namespace waep::netlink
