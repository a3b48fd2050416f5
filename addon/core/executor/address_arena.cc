// SPDX-License-Identifier: MIT
#include "address_arena.h"

#include <errno.h>
#include <sys/mman.h>

#include <iterator>

namespace waep {
namespace {

// The arena's addresses are such that two adjacent 32-bit numbers of a call look like one of them
// only if both numbers are far from 0.
constexpr uintptr_t kPlace = 0x2a37'1000'0000;
constexpr size_t kArenaBytes = 0xe000'0000;
constexpr int kNothing = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

}  // namespace

AddressArena::~AddressArena() {
  if (base_ != nullptr) ::munmap(base_, kArenaBytes);
}

int AddressArena::Reserve() {
  // A hint. If the place is taken, as for a second arena of a process, any other place is fine.
  void* const memory =
      ::mmap(reinterpret_cast<void*>(kPlace), kArenaBytes, PROT_NONE, kNothing, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  base_ = static_cast<uint8_t*>(memory);
  free_.emplace(base_, kArenaBytes);
  return 0;
}

uint8_t* AddressArena::Take(size_t size) {
  for (const auto& [address, room] : free_) {
    if (room < size) continue;
    uint8_t* const taken = address;
    const size_t left = room - size;
    free_.erase(address);
    if (left > 0) free_.emplace(taken + size, left);
    return taken;
  }
  return nullptr;
}

void AddressArena::Return(uint8_t* address, size_t size) {
  ::mmap(address, size, PROT_NONE, kNothing | MAP_FIXED, -1, 0);
  auto [here, inserted] = free_.emplace(address, size);
  if (!inserted) return;
  const auto next = std::next(here);
  if (next != free_.end() && here->first + here->second == next->first) {
    here->second += next->second;
    free_.erase(next);
  }
  if (here == free_.begin()) return;
  const auto previous = std::prev(here);
  if (previous->first + previous->second != here->first) return;
  previous->second += here->second;
  free_.erase(here);
}

int Mapping::Take(AddressArena* arena, size_t size) {
  data_ = arena->Take(size);
  if (data_ == nullptr) return -ENOMEM;
  arena_ = arena;
  size_ = size;
  return 0;
}

int Mapping::Map(size_t offset, size_t size, int protection, int fd, uint64_t file_offset) {
  const int flags = MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
  void* const mapped =
      ::mmap(data_ + offset, size, protection, flags, fd, static_cast<off_t>(file_offset));
  return mapped == MAP_FAILED ? -errno : 0;
}

void Mapping::Reset() {
  if (data_ != nullptr) arena_->Return(data_, size_);
  data_ = nullptr;
}

}  // namespace waep
