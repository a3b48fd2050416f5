// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "cbor.h"

namespace waep {

// Bounds of one session; sizes in bytes.
struct Limits {
  uint64_t max_frame_bytes = 64u << 20;
  uint64_t max_call_bytes = 128u << 20;
  uint64_t max_buffers = 256;
  uint64_t max_relocations = 1u << 20;
  uint64_t max_handles = 4096;
};

// A 32-bit word of a command's attribute that must have one of a set of values.
struct WordRule {
  std::string name;
  uint32_t command = 0;
  uint32_t offset = 0;
  uint64_t allowed = 0;  // bit n allows the value n
};

// What the third argument of an ioctl(2) is.
enum class IoctlArgument : uint8_t { kNumber = 0, kHandle = 1, kBuffer = 2 };

// An ioctl(2) request that a session may make on its handles.
struct IoctlRule {
  std::string name;
  uint32_t request = 0;
  IoctlArgument argument = IoctlArgument::kNumber;
};

// Which events perf_event_open(2) may open.
struct PerfRules {
  uint64_t types = 0;  // bit n allows the attribute's type n
  bool other_types = false;
  uint64_t flags = 0;  // the bits that the attribute's 64 bits of flags may have

  [[nodiscard]] bool AllowsType(uint32_t type) const {
    return type < 64 ? (types >> type & 1) != 0 : other_types;
  }
};

// What the guest's owner lets a session do, as the policy compiles to it.
struct Rules {
  uint64_t commands = 0;  // bit n allows command n
  bool other_commands = false;
  std::vector<WordRule> words;
  std::vector<std::string> readable_paths;
  PerfRules perf;
  std::vector<IoctlRule> ioctls;
  Limits limits;

  [[nodiscard]] bool AllowsCommand(uint32_t command) const {
    return command < 64 ? (commands >> command & 1) != 0 : other_commands;
  }
  [[nodiscard]] bool AllowsPath(std::string_view path) const;
  // The rule for an ioctl(2) request, or null when there is none.
  [[nodiscard]] const IoctlRule* FindIoctl(uint32_t request) const;

  // Decodes [commands, otherCommands, [[name, command, offset, allowed]...], [path...],
  // [perfTypes, otherPerfTypes, perfFlags], [[name, request, argument]...],
  // [maxFrameBytes, maxCallBytes, maxBuffers, maxRelocations, maxHandles]].
  [[nodiscard]] static bool Decode(cbor::Reader* reader, Rules* rules);
};

}  // namespace waep
