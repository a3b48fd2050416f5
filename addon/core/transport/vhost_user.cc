// SPDX-License-Identifier: MIT
#include "vhost_user.h"

#include <errno.h>
#include <sys/socket.h>

#include <cstring>

namespace waep::vhost_user {

int Connection::Read() {
  Header& header = message_.header;
  if (have_ >= kHeaderBytes && have_ == kHeaderBytes + header.size) have_ = 0;
  for (;;) {
    if (have_ == 0) {
      for (unique_fd& descriptor : message_.descriptors) descriptor.reset();
      message_.descriptor_count = 0;
    }
    const bool in_header = have_ < kHeaderBytes;
    if (!in_header && have_ == kHeaderBytes + header.size) return 1;
    iovec part;
    if (in_header) {
      part = {reinterpret_cast<uint8_t*>(&header) + have_, kHeaderBytes - have_};
    } else {
      const size_t done = have_ - kHeaderBytes;
      part = {message_.body + done, header.size - done};
    }
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
    msghdr incoming = {};
    incoming.msg_iov = &part;
    incoming.msg_iovlen = 1;
    incoming.msg_control = control;
    incoming.msg_controllen = sizeof control;
    const ssize_t got = ::recvmsg(socket_.get(), &incoming, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    bool too_many = (incoming.msg_flags & MSG_CTRUNC) != 0;
    for (cmsghdr* c = CMSG_FIRSTHDR(&incoming); c != nullptr; c = CMSG_NXTHDR(&incoming, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int number;
        std::memcpy(&number, CMSG_DATA(c) + i * sizeof number, sizeof number);
        unique_fd descriptor(number);
        if (message_.descriptor_count == kMaxDescriptors) {
          too_many = true;
        } else {
          message_.descriptors[message_.descriptor_count++] = static_cast<unique_fd&&>(descriptor);
        }
      }
    }
    if (got == 0) return have_ == 0 ? 0 : -EPROTO;
    if (too_many) return -EPROTO;
    have_ += static_cast<size_t>(got);
    if (in_header && have_ == kHeaderBytes) {
      const bool valid = (header.flags & kVersionMask) == kVersion &&
                         (header.flags & kReply) == 0 && header.size <= kMaxBodyBytes;
      if (!valid) return -EPROTO;
    }
  }
}

int Connection::Reply(const void* body, size_t size) {
  Header header = {message_.header.request, kVersion | kReply, static_cast<uint32_t>(size)};
  iovec parts[2] = {{&header, sizeof header}, {const_cast<void*>(body), size}};
  msghdr outgoing = {};
  outgoing.msg_iov = parts;
  outgoing.msg_iovlen = 2;
  // A VMM waits for each answer, so there is room for it, unless the VMM is hostile.
  const ssize_t sent = ::sendmsg(socket_.get(), &outgoing, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return -errno;
  return static_cast<size_t>(sent) == sizeof header + size ? 0 : -EPROTO;
}

}  // namespace waep::vhost_user
