// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../unique_fd.h"

namespace waep {

// An amount of a quota that is in use. It is given back when nothing refers to it any more.
class Charge {
 public:
  Charge(uint64_t* used, uint64_t amount) : used_(used), amount_(amount) { *used_ += amount_; }
  ~Charge() { *used_ -= amount_; }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;

 private:
  uint64_t* used_;
  uint64_t amount_;
};

using Charges = std::vector<std::shared_ptr<Charge>>;

// What the kernel says about an object: the type of a map, program or link. For a map also the
// sizes of a key and of a value, in bytes.
struct ObjectInfo {
  enum State : uint8_t { kUnasked, kKnown, kUnknown };
  // The type of a descriptor that is no object of bpf(2): a file, a perf event or an iterator.
  static constexpr uint32_t kNoObject = UINT32_MAX;
  State state = kUnasked;
  uint32_t type = 0;
  uint32_t key_size = 0;
  uint32_t value_size = 0;
  uint32_t id = 0;

  // Returns whether both are of one object. The sizes are part of it: those of programs and links
  // have other facts in their place, so that objects of two kinds are never the same.
  [[nodiscard]] bool IsSame(const ObjectInfo& other) const {
    return state == kKnown && type != kNoObject && other.state == kKnown && type == other.type &&
           id == other.id && key_size == other.key_size && value_size == other.value_size;
  }
};

// A session's handle: a descriptor, and the known facts about its object.
struct Handle {
  static constexpr uint32_t kNoCommand = UINT32_MAX;

  explicit Handle(unique_fd descriptor, uint32_t command = kNoCommand)
      : fd(std::move(descriptor)), origin(command) {}
  [[nodiscard]] int get() const { return fd.get(); }

  unique_fd fd;
  uint32_t origin;  // the command that returned it
  // The quota amounts that this handle keeps in use: those of its object, and of the objects that
  // its object refers to.
  Charges charges;
  ObjectInfo info;  // asked for when it is first needed
};

using HandleTable = std::unordered_map<uint32_t, Handle>;

}  // namespace waep
