// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace waep {

// A stretch of address space, reserved once, in which files are mapped later on.
//
// AddressGuard knows what was mapped before the first call; what is mapped inside of an arena that
// was there by then is kept from calls as well. It lies where no program has anything of its own,
// so that addresses of other programs are not taken for ones in here.
class AddressArena {
 public:
  AddressArena() = default;
  ~AddressArena();
  AddressArena(const AddressArena&) = delete;
  AddressArena& operator=(const AddressArena&) = delete;

  // Returns 0 or a negative errno.
  int Reserve();

  // `size` bytes of address space, a multiple of the page size; null when there is none left.
  uint8_t* Take(size_t size);
  // Unmaps what was mapped there and takes the addresses back.
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
