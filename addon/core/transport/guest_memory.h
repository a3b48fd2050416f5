// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "../unique_fd.h"

namespace waep {

// One stretch of a guest's memory as the VMM announces it.
struct MemoryRegion {
  uint64_t guest_address = 0;
  uint64_t size = 0;
  uint64_t user_address = 0;  // in the VMM's own address space
  uint64_t offset = 0;        // in the file
};

// A guest's memory, mapped. If the VMM truncates its files later, this process survives: the
// missing parts read as zeros from then on, and `broken` returns true.
class GuestMemory {
 public:
  GuestMemory();
  ~GuestMemory();
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  // Maps a region of `file`, which is not needed afterwards. Returns 0 or a negative errno: -EINVAL
  // for a region that overlaps another or that the file does not have, -ENOSPC for too many.
  int Add(const MemoryRegion& region, const unique_fd& file);
  // Returns 0, or -ENOENT where there is no such region.
  int Remove(const MemoryRegion& region);
  void Clear();

  // Returns where the byte at a guest address is mapped. `length` becomes the number of bytes from
  // there on in the same region, at most its old value. Returns null outside of the guest's memory.
  [[nodiscard]] uint8_t* Find(uint64_t guest_address, uint64_t* length) const;
  // Returns where `length` bytes at an address of the VMM are mapped, or null unless all of them
  // are.
  [[nodiscard]] uint8_t* FindUser(uint64_t user_address, uint64_t length) const;
  // Returns whether a part of the memory was found missing.
  [[nodiscard]] bool broken() const;

  static constexpr size_t kMaxRegions = 64;

 private:
  class Mapping;
  std::vector<std::unique_ptr<Mapping>> mappings_;
};

}  // namespace waep
