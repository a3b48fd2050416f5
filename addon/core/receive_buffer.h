// SPDX-License-Identifier: MIT
#pragma once

#include <errno.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "frame.h"

namespace waep {

// Assembles frames from a stream. It reserves address space for the largest frame once. Memory is
// used when bytes arrive, never because a header announces them, and is freed after a large frame.
// With `resident`, all memory is used from the start on and is kept.
class ReceiveBuffer {
 public:
  ReceiveBuffer() = default;
  ~ReceiveBuffer() {
    if (base_ != nullptr) ::munmap(base_, reserved_);
  }
  ReceiveBuffer(const ReceiveBuffer&) = delete;
  ReceiveBuffer& operator=(const ReceiveBuffer&) = delete;

  int Reserve(size_t max_frame_bytes, bool resident = false) {
    reserved_ = frame::kHeaderBytes + max_frame_bytes + kChunk;
    void* const memory = ::mmap(nullptr, reserved_, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return -errno;
    base_ = static_cast<uint8_t*>(memory);
    if (resident) {
      keep_ = reserved_;
      std::memset(base_, 0, reserved_);
    }
    return 0;
  }

  // Returns where the next bytes go. There is room for at least kChunk bytes if complete frames are
  // taken.
  [[nodiscard]] uint8_t* tail() { return base_ + end_; }
  [[nodiscard]] size_t room() const { return reserved_ - end_; }
  void Added(size_t count) { end_ += count; }

  [[nodiscard]] size_t size() const { return end_ - start_; }
  [[nodiscard]] const uint8_t* data() const { return base_ + start_; }

  // Forgets the first `count` bytes.
  void Take(size_t count) {
    start_ += count;
    if (start_ != end_) return;
    if (end_ > keep_) ::madvise(base_ + keep_, end_ - keep_, MADV_DONTNEED);
    start_ = end_ = 0;
  }

  // Moves the remaining bytes to the front, to make room.
  void Compact() {
    if (start_ == 0) return;
    std::memmove(base_, base_ + start_, size());
    end_ -= start_;
    start_ = 0;
  }

 private:
  static constexpr size_t kChunk = 256 * 1024;

  uint8_t* base_ = nullptr;
  size_t reserved_ = 0;
  size_t keep_ = 1024 * 1024;
  size_t start_ = 0;
  size_t end_ = 0;
};

}  // namespace waep
