// SPDX-License-Identifier: MIT
#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
// clang-format off: linux/vm_sockets.h needs sockaddr from sys/socket.h
#include <linux/vm_sockets.h>
// clang-format on
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "unique_fd.h"

namespace waep::sockets {
namespace {

int Result(int result) { return result < 0 ? -errno : result; }

sockaddr_vm Address(VsockName name) {
  sockaddr_vm address = {};
  address.svm_family = AF_VSOCK;
  address.svm_cid = name.cid;
  address.svm_port = name.port;
  return address;
}

timeval Duration(uint32_t ms) {
  timeval duration = {};
  duration.tv_sec = ms / 1000;
  duration.tv_usec = static_cast<suseconds_t>(ms % 1000) * 1000;
  return duration;
}

}  // namespace

int VsockSocket() {
  return Result(::socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

int VsockBind(int fd, VsockName name) {
  const sockaddr_vm address = Address(name);
  return Result(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address));
}

int VsockConnect(int fd, VsockName name) {
  const sockaddr_vm address = Address(name);
  return Result(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address));
}

int VsockAccept(int fd, VsockName* peer) {
  sockaddr_vm address = {};
  socklen_t length = sizeof address;
  int accepted;
  do {
    // On vsock a signal interrupts even a call that does not block (af_vsock.c, vsock_accept()).
    accepted =
        ::accept4(fd, reinterpret_cast<sockaddr*>(&address), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  } while (accepted < 0 && errno == EINTR);
  if (accepted < 0) return -errno;
  *peer = {address.svm_cid, address.svm_port};
  return accepted;
}

int VsockLocalName(int fd, VsockName* name) {
  sockaddr_vm address = {};
  socklen_t length = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) < 0) return -errno;
  *name = {address.svm_cid, address.svm_port};
  return 0;
}

int VsockLocalCid(uint32_t* cid) {
  const unique_fd device(::open("/dev/vsock", O_RDONLY | O_CLOEXEC));
  if (!device.valid()) return -errno;
  return Result(::ioctl(device.get(), IOCTL_VM_SOCKETS_GET_LOCAL_CID, cid));
}

int VsockSetBufferSize(int fd, uint64_t bytes) {
  // The kernel clamps the size to the maximum, so the maximum is set first (af_vsock.c,
  // vsock_update_buffer_size).
  for (const int option : {SO_VM_SOCKETS_BUFFER_MAX_SIZE, SO_VM_SOCKETS_BUFFER_SIZE}) {
    if (::setsockopt(fd, AF_VSOCK, option, &bytes, sizeof bytes) < 0) return -errno;
  }
  return 0;
}

int VsockSetConnectTimeout(int fd, uint32_t timeout_ms) {
  const timeval timeout = Duration(timeout_ms);
  return Result(
      ::setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &timeout, sizeof timeout));
}

int Listen(int fd, int backlog) { return Result(::listen(fd, backlog)); }

int SocketError(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return -errno;
  return -error;
}

ssize_t Receive(int fd, void* buffer, size_t length) {
  ssize_t received;
  do {
    received = ::recv(fd, buffer, length, 0);
  } while (received < 0 && errno == EINTR);
  return received < 0 ? -errno : received;
}

bool WaitReadable(int fd, int64_t timeout_ns) {
  pollfd ready = {fd, POLLIN, 0};
  const timespec timeout = {static_cast<time_t>(timeout_ns / 1000000000), timeout_ns % 1000000000};
  return ::ppoll(&ready, 1, &timeout, nullptr) > 0;
}

ssize_t Send(int fd, const iovec* parts, size_t count, int flags) {
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = std::min<size_t>(count, 1024);  // UIO_MAXIOV
  ssize_t sent;
  do {
    // The kernel copies a msghdr and then each part. A single part is sent without a msghdr.
    sent = count == 1 ? ::send(fd, parts->iov_base, parts->iov_len, flags | MSG_NOSIGNAL)
                      : ::sendmsg(fd, &message, flags | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

int Shutdown(int fd, int how) { return Result(::shutdown(fd, how)); }

int Close(int fd) { return Result(::close(fd)); }

int Duplicate(int fd) { return Result(::fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

int SocketPair(int pair[2]) {
  return Result(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
}

int Pipe(int pair[2]) { return Result(::pipe2(pair, O_CLOEXEC)); }

int DeafPair(int pair[2]) {
  // The listener has room for one connection. That one is never accepted.
  constexpr int kType = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int peer = listener < 0 ? -1 : ::socket(AF_UNIX, kType, 0);
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  socklen_t length = sizeof name.sun_family;  // the kernel chooses the name
  if (peer >= 0 && ::bind(listener, reinterpret_cast<sockaddr*>(&name), length) == 0 &&
      ::listen(listener, 0) == 0 &&
      ::getsockname(listener, reinterpret_cast<sockaddr*>(&name), &(length = sizeof name)) == 0 &&
      ::connect(peer, reinterpret_cast<sockaddr*>(&name), length) == 0) {
    pair[0] = peer;
    pair[1] = listener;
    return 0;
  }
  const int error = errno;
  if (peer >= 0) ::close(peer);
  if (listener >= 0) ::close(listener);
  return -error;
}

int MessagePair(int pair[2]) {
  return Result(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
}

ssize_t SendMessage(int fd, const iovec* parts, size_t count, int descriptor, int flags) {
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(fd, &message, MSG_NOSIGNAL | flags);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

ssize_t ReceiveMessage(int fd, void* buffer, size_t length, int* descriptor) {
  *descriptor = -1;
  iovec part = {buffer, length};
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  // The space for one descriptor would have room for two.
  message.msg_controllen = CMSG_LEN(sizeof(int));
  ssize_t got;
  do {
    got = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return -errno;
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
    std::memcpy(descriptor, CMSG_DATA(header), sizeof *descriptor);
  }
  if ((message.msg_flags & MSG_TRUNC) != 0) {
    if (*descriptor >= 0) ::close(*descriptor);
    *descriptor = -1;
    return -EMSGSIZE;
  }
  return got;
}

int SetNonBlocking(int fd, bool on) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  return Result(::fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

int SetTimeouts(int fd, uint32_t timeout_ms) {
  const timeval timeout = Duration(timeout_ms);
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    if (::setsockopt(fd, SOL_SOCKET, option, &timeout, sizeof timeout) < 0) return -errno;
  }
  return 0;
}

bool IsUnix(int fd) {
  int domain = 0;
  socklen_t length = sizeof domain;
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_UNIX;
}

void SetNoDelay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace waep::sockets
