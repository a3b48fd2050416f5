// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace waep {

// A message to the kernel by netlink(7).
struct NetlinkRequest {
  // Bits of `options`: the socket's options of the same names.
  static constexpr uint32_t kExtendedAck = 1;
  static constexpr uint32_t kCappedAck = 2;
  static constexpr uint32_t kStrictCheck = 4;
  static constexpr uint32_t kAllOptions = kExtendedAck | kCappedAck | kStrictCheck;

  uint32_t protocol;
  uint32_t options;
  const uint8_t* message;
  size_t size;
  size_t most;  // the most bytes of the answer
};

struct NetlinkOutcome {
  int error;  // 0 or an errno; EFBIG means that the answer would have more than `most` bytes
  bool sent;  // whether the kernel has got the message, also if its answer could not be received
};

// Sends a message from a new socket, and appends every datagram of the kernel's answer to `answer`:
// its length in 4 bytes, its bytes, and zeros up to a multiple of 4.
NetlinkOutcome ExchangeNetlink(const NetlinkRequest& request, std::vector<uint8_t>* answer);

// A message that asks NETLINK_GENERIC for the name of a family, by its number.
std::vector<uint8_t> FamilyQuestion(uint16_t number);

// Returns the family's name in the answer to a FamilyQuestion. Empty when there is no such family.
std::string FamilyName(const std::vector<uint8_t>& answer);

// Returns the positive errno with which an answer says that the kernel refused the message, or 0.
int NetlinkError(const std::vector<uint8_t>& answer);

}  // namespace waep
