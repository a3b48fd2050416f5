// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace waep {

// A range of address space that is reserved once. Files are mapped into it later.
//
// AddressGuard protects the ranges that were mapped before the first call. Because the arena is one
// of them, later mappings inside it are protected as well. The arena lies at addresses that
// programs do not use, so that an address of another program is not mistaken for one of the arena.
class AddressArena {
 public:
  AddressArena() = default;
  ~AddressArena();
  AddressArena(const AddressArena&) = delete;
  AddressArena& operator=(const AddressArena&) = delete;

  // Returns 0 or a negative errno.
  int Reserve();

  // Takes `size` bytes of address space, a multiple of the page size. Returns null when none is
  // left.
  uint8_t* Take(size_t size);
  // Unmaps everything there and frees the addresses.
  void Return(uint8_t* address, size_t size);

 private:
  uint8_t* base_ = nullptr;
  std::map<uint8_t*, size_t> free_;
};

// A part of an arena with something mapped in it.
class Mapping {
 public:
  Mapping() = default;
  ~Mapping() { Reset(); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // Takes `size` bytes. Returns 0 or a negative errno.
  int Take(AddressArena* arena, size_t size);
  // mmap(2) at `offset` of the mapping; `fd` -1 for memory of its own. Returns 0 or a negative
  // errno.
  int Map(size_t offset, size_t size, int protection, int fd, uint64_t file_offset);
  void Reset();

  [[nodiscard]] uint8_t* data() const { return data_; }

 private:
  AddressArena* arena_ = nullptr;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace waep
