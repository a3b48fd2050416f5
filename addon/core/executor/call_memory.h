// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../unique_fd.h"

namespace waep {

// The memory of a call's buffers while the kernel uses them.
//
// The executor does not know how much the kernel will copy: a client can give a one-byte buffer for
// a map whose values have a megabyte. So every buffer ends exactly where an inaccessible page
// begins. A copy beyond the buffer, in either direction, only fails with EFAULT. The bytes before a
// buffer are all ones, which is neither a descriptor nor an address, and before them is an
// inaccessible page. An argument lies at the start of a block that is zero otherwise, because the
// kernel reads and writes some of its fields beyond the given size.
class CallMemory {
 public:
  CallMemory() = default;
  ~CallMemory();
  CallMemory(const CallMemory&) = delete;
  CallMemory& operator=(const CallMemory&) = delete;

  // The largest size of a call's output buffers together, however much the kernel writes.
  static constexpr size_t kMaxOffered = size_t{1} << 30;

  // How far the kernel may access an argument that is shorter: three times the size of the largest
  // argument, bpf_attr.
  static constexpr size_t kArgumentBytes = 512;

  // Reserves address space for calls of up to `max_bytes` in `max_buffers` buffers. Returns 0 or a
  // negative errno. Calls of at most Limits::kResidentBytes have their memory from now on. For
  // larger ones, memory is used only when it is touched. `first_fd` is the lowest number that a
  // descriptor of this object may have.
  int Reserve(size_t max_bytes, size_t max_buffers, int first_fd = 0);

  // Returns `size` bytes that end at an inaccessible page, with undefined contents. Returns null
  // beyond the reserved size. The bytes are valid until Reset.
  uint8_t* Allocate(size_t size);
  // Returns `size` zeroed bytes for output, of the `offered` ones. The bytes behind them do not
  // exist, and belong to no other buffer. Only written pages use memory.
  uint8_t* AllocateOut(size_t size, size_t offered);
  // Returns the length of such a buffer up to the last byte that may have been written.
  [[nodiscard]] size_t Written(const uint8_t* data, size_t size) const;
  // A zeroed block of at least kArgumentBytes.
  uint8_t* AllocateArgument(size_t size);
  void Reset();

 private:
  // Places of one size. Each lies between inaccessible pages.
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
  size_t resident_ = 0;      // the part of it that stays in memory, all zero between calls
  std::vector<Part> large_;  // the accessible parts of it
  unique_fd pages_in_use_;   // /proc/self/pagemap, if there is one
};

// The address ranges that this process had mapped at one moment.
//
// A client that writes an address in place of a relocation could make the kernel read or write this
// process. So a word that lies in a mapped range is refused where the kernel might follow it,
// unless a relocation covers it.
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

  // Returns the offset of the first aligned word of `data` that is an address of this process, or
  // -1.
  [[nodiscard]] int64_t Find(const uint8_t* data, size_t size) const;

 private:
  struct Range {
    uint64_t start;
    uint64_t size;
  };
  std::vector<Range> ranges_;
};

}  // namespace waep
