// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include "../unique_fd.h"

// The vhost-user protocol's messages, as its specification in QEMU's documentation (interop/
// vhost-user) describes them, from the back end's side.
namespace waep::vhost_user {

constexpr size_t kHeaderBytes = 12;
constexpr size_t kMaxBodyBytes = 4096;
constexpr size_t kMaxDescriptors = 8;

constexpr uint32_t kVersion = 1;
constexpr uint32_t kVersionMask = 3;
constexpr uint32_t kReply = 1 << 2;
constexpr uint32_t kNeedReply = 1 << 3;

struct Header {
  uint32_t request = 0;
  uint32_t flags = 0;
  uint32_t size = 0;  // of the body, in bytes
};
static_assert(sizeof(Header) == kHeaderBytes);

struct Message {
  Header header;
  alignas(8) uint8_t body[kMaxBodyBytes] = {};
  unique_fd descriptors[kMaxDescriptors];
  size_t descriptor_count = 0;
};

// A connection to a VMM. Messages are assembled from a socket that does not block.
class Connection {
 public:
  explicit Connection(unique_fd socket) : socket_(static_cast<unique_fd&&>(socket)) {}

  [[nodiscard]] int fd() const { return socket_.get(); }
  // Returns 1 with a whole message in `message()`, which is valid until the next call. Returns
  // -EAGAIN when no message is complete, 0 at the end, or another negative errno: -EPROTO for bytes
  // that are no message.
  int Read();
  [[nodiscard]] Message& message() { return message_; }
  // Answers the message at hand. Returns 0 or a negative errno.
  int Reply(const void* body, size_t size);

 private:
  unique_fd socket_;
  Message message_;
  size_t have_ = 0;  // bytes of the message at hand
};

}  // namespace waep::vhost_user
