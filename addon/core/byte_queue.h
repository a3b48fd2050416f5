// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

namespace waep {

// Bytes that have arrived and not been read. Memory is used as bytes come and given back when they
// have gone.
class ByteQueue {
 public:
  [[nodiscard]] size_t size() const { return end_ - start_; }

  // Makes room for `length` bytes and returns where they go; Added() makes them part of the queue.
  uint8_t* Reserve(size_t length) {
    if (capacity_ - end_ >= length) return data_.get() + end_;
    const size_t have = size();
    if (capacity_ - have >= length && start_ >= have) {
      std::memcpy(data_.get(), data_.get() + start_, have);
    } else {
      const size_t wanted = std::max({have + length, 2 * have, kSmall});
      std::unique_ptr<uint8_t[]> larger(new uint8_t[wanted]);
      if (have > 0) std::memcpy(larger.get(), data_.get() + start_, have);
      data_ = std::move(larger);
      capacity_ = wanted;
    }
    start_ = 0;
    end_ = have;
    return data_.get() + end_;
  }

  void Added(size_t length) { end_ += length; }

  size_t Take(void* to, size_t length) {
    const size_t taken = std::min(length, size());
    if (taken > 0) std::memcpy(to, data_.get() + start_, taken);
    start_ += taken;
    if (start_ == end_) {
      start_ = end_ = 0;
      if (capacity_ > kLarge) {
        data_.reset();
        capacity_ = 0;
      }
    }
    return taken;
  }

 private:
  static constexpr size_t kSmall = 4096;
  static constexpr size_t kLarge = 64 * 1024;

  std::unique_ptr<uint8_t[]> data_;
  size_t capacity_ = 0;
  size_t start_ = 0;
  size_t end_ = 0;
};

}  // namespace waep
