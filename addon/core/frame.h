// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// The frame header of PROTOCOL.md: 12 bytes, little-endian.
namespace waep::frame {

constexpr size_t kHeaderBytes = 12;

enum Type : uint8_t {
  kHello = 0x01,
  kWelcome = 0x02,
  kError = 0x03,
  kCall = 0x10,
  kOpen = 0x11,
  kRead = 0x12,
  kClose = 0x13,
  kPerfOpen = 0x14,
  kIoctl = 0x15,
  kClock = 0x16,
  kRestrict = 0x17,
  kSubscribe = 0x18,
  kUnsubscribe = 0x19,
  kCredit = 0x1a,
  kWrite = 0x1b,
  kFile = 0x1c,
  kChain = 0x1d,
  kPing = 0x1e,
  kEnd = 0x1f,
  kResult = 0x20,
  kEvents = 0x21,
  kNetlink = 0x22,
};

// The bits of a request's flags. All other bits are zero in version 1. So are all flags of an
// answer.
enum Flag : uint8_t {
  kAnswerMayWait = 0x01,  // the answer may be sent together with that of the request behind it
};

// Bounds of a chain. The executor begins no further call of a chain once the answer has so many
// bytes, or so much time has passed, so that other requests of the session get their turn.
constexpr size_t kMaxChainCalls = 256;
constexpr size_t kMaxChainCallBytes = 64 * 1024;  // the buffers of one of its calls
constexpr size_t kChainAnswerBytes = 64 * 1024;
constexpr uint64_t kChainNs = 10'000'000;

struct Header {
  uint32_t length = 0;    // b[0:4]  bytes of the body
  uint8_t type = 0;       // b[4]
  uint8_t flags = 0;      // b[5]    Flag bits
  uint16_t reserved = 0;  // b[6:8]  zero in version 1
  uint32_t id = 0;        // b[8:12] repeated in the answer
};

inline Header Parse(const uint8_t* bytes) {
  Header header;
  std::memcpy(&header.length, bytes, 4);
  header.type = bytes[4];
  header.flags = bytes[5];
  std::memcpy(&header.reserved, bytes + 6, 2);
  std::memcpy(&header.id, bytes + 8, 4);
  return header;
}

inline void Put(uint8_t* bytes, uint32_t length, uint8_t type, uint32_t id) {
  std::memcpy(bytes, &length, 4);
  std::memset(bytes + 4, 0, 4);
  bytes[4] = type;
  std::memcpy(bytes + 8, &id, 4);
}

}  // namespace waep::frame
