// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../unique_fd.h"

namespace waep {

// The memory that a call's buffers live in while the kernel works on them.
//
// Nobody here knows how much the kernel will copy: a client can name a one-byte buffer for a map
// whose values have a megabyte. So every buffer ends exactly where an inaccessible page begins, and
// a copy that goes beyond it, in either direction, is EFAULT for the caller and nothing else. What
// lies before a buffer is all ones, which is no descriptor and no address, up to an inaccessible
// page. An argument lies at the start of a block that is zero otherwise: the kernel writes to
// fields of it, and reads some, that lie behind the bytes it was told of.
class CallMemory {
 public:
  CallMemory() = default;
  ~CallMemory();
  CallMemory(const CallMemory&) = delete;
  CallMemory& operator=(const CallMemory&) = delete;

  // The most that a call may offer the kernel to write to, whatever it writes.
  static constexpr size_t kMaxOffered = size_t{1} << 30;

  // As much as the kernel can touch of an argument that is shorter: three times as much as its
  // largest, bpf_attr, has.
  static constexpr size_t kArgumentBytes = 512;

  // Reserves address space for calls of up to `max_bytes` in `max_buffers` buffers. Returns 0 or a
  // negative errno. Memory is only used as it is touched, or, for calls of no more than
  // Limits::kResidentBytes, from now on. `first_fd` is the least number that a descriptor of its
  // own may have.
  int Reserve(size_t max_bytes, size_t max_buffers, int first_fd = 0);

  // `size` bytes that end at an inaccessible page; contents undefined. Null beyond what was
  // reserved. Valid until Reset.
  uint8_t* Allocate(size_t size);
  // `size` zeroes to be written to, of `offered` bytes: what lies behind is not there, but is no
  // other buffer's either. It costs no more than what is written to it.
  uint8_t* AllocateOut(size_t size, size_t offered);
  // How many bytes of such a buffer there are up to the last that can have been written.
  [[nodiscard]] size_t Written(const uint8_t* data, size_t size) const;
  // A zeroed block of at least kArgumentBytes.
  uint8_t* AllocateArgument(size_t size);
  void Reset();

 private:
  // Places of one size, each between inaccessible pages.
  struct Places {
    static constexpr size_t kCount = 16;
    size_t bytes;
    size_t used = 0;
    uint8_t* base = nullptr;
    size_t ones[kCount] = {};  // bytes at the start of each that are known to be all ones
  };

  int Open(Places* places, uint8_t* base);
  int KeepResident(size_t bytes);
  static uint8_t* Take(Places* places, size_t size);
  uint8_t* AllocateLarge(size_t size, size_t offered);

  uint8_t* base_ = nullptr;
  size_t reserved_ = 0;
  Places pages_ = {4096};
  Places small_ = {64 * 1024};
  // A part of the place for large buffers.
  struct Part {
    uint8_t* start;
    size_t size;
  };
  size_t large_start_ = 0;
  size_t large_used_ = 0;
  size_t resident_ = 0;      // bytes of it that stay in memory, all zero between calls
  std::vector<Part> large_;  // what can be accessed of it
  unique_fd pages_in_use_;   // /proc/self/pagemap, if there is one
};

// The address ranges that this process had mapped at a moment.
//
// A client that puts an address where a relocation belongs would have the kernel read or write
// this process at will. A word that falls in a mapped range is therefore refused where the kernel
// might follow it and no relocation covers it.
class AddressGuard {
 public:
  // Reads /proc/self/maps; ranges closer than 16 MiB become one, and the heap and the stack get
  // room to grow.
  // Returns 0 or a negative errno.
  int Load();

  [[nodiscard]] bool Covers(uint64_t word) const {
    for (const Range& range : ranges_) {
      if (word - range.start < range.size) return true;
    }
    return false;
  }

  // The offset of the first aligned word of `data` that is an address of this process, or -1.
  [[nodiscard]] int64_t Find(const uint8_t* data, size_t size) const;

 private:
  struct Range {
    uint64_t start;
    uint64_t size;
  };
  std::vector<Range> ranges_;
};

}  // namespace waep
