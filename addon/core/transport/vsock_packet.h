// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

// The packets in the queues of a virtio-vsock device (virtio 1.2, section 5.10.6).
namespace waep::vsock {

// Little-endian, as this machine is.
struct __attribute__((packed)) Header {
  uint64_t src_cid = 0;
  uint64_t dst_cid = 0;
  uint32_t src_port = 0;
  uint32_t dst_port = 0;
  uint32_t len = 0;
  uint16_t type = 0;
  uint16_t op = 0;
  uint32_t flags = 0;
  uint32_t buf_alloc = 0;
  uint32_t fwd_cnt = 0;
};

constexpr size_t kHeaderBytes = 44;
static_assert(sizeof(Header) == kHeaderBytes);

constexpr uint64_t kHostCid = 2;
constexpr uint16_t kStream = 1;

enum Operation : uint16_t {
  kRequest = 1,
  kResponse = 2,
  kReset = 3,
  kShutdown = 4,
  kData = 5,
  kCreditUpdate = 6,
  kCreditRequest = 7,
};

// Flags of kShutdown: the sender will receive, or send, no more.
constexpr uint8_t kNoReceive = 1;
constexpr uint8_t kNoSend = 2;
constexpr uint8_t kNeither = kNoReceive | kNoSend;

}  // namespace waep::vsock
