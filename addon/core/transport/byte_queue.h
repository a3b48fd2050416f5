// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace waep {

// Blocks of memory for byte queues. Some free blocks are kept for reuse, because recently used
// memory is several times as fast as new memory of the kernel.
class BlockPool {
 public:
  static constexpr size_t kBlockBytes = 16 * 1024;
  using Block = std::unique_ptr<uint8_t[]>;

  Block Take() {
    if (kept_.empty()) return Block(new uint8_t[kBlockBytes]);
    Block block = std::move(kept_.back());
    kept_.pop_back();
    return block;
  }

  void Give(Block block) {
    if (kept_.size() < kMaxKept) kept_.push_back(std::move(block));
  }

 private:
  static constexpr size_t kMaxKept = 64;

  std::vector<Block> kept_;
};

// Bytes that have arrived and have not been read. The queue takes memory from a pool when bytes
// arrive, and gives it back when they are read. The pool must outlive the queue.
class ByteQueue {
 public:
  explicit ByteQueue(BlockPool* pool) : pool_(pool) {}
  ~ByteQueue() { Clear(); }
  ByteQueue(const ByteQueue&) = delete;
  ByteQueue& operator=(const ByteQueue&) = delete;

  [[nodiscard]] size_t size() const { return end_ - start_; }

  // Adds `length` bytes. `copy(to, offset, size)` puts there the bytes from `offset` on.
  template <typename Copy>
  void Add(size_t length, Copy copy) {
    for (size_t done = 0; done < length;) {
      if (end_ == blocks_.size() * kBlock) blocks_.push_back(pool_->Take());
      const size_t used = end_ % kBlock;
      const size_t size = std::min(length - done, kBlock - used);
      copy(blocks_.back().get() + used, done, size);
      done += size;
      end_ += size;
    }
  }

  // Takes up to `length` bytes.
  size_t Take(void* to, size_t length) {
    const size_t taken = std::min(length, size());
    for (size_t done = 0; done < taken;) {
      const uint8_t* const block = blocks_[start_ / kBlock].get();
      const size_t piece = std::min(taken - done, kBlock - start_ % kBlock);
      std::memcpy(static_cast<uint8_t*>(to) + done, block + start_ % kBlock, piece);
      done += piece;
      start_ += piece;
    }
    if (start_ == end_) {
      Clear();
    } else if (const size_t read = start_ / kBlock; read > 0) {
      for (size_t i = 0; i < read; ++i) pool_->Give(std::move(blocks_[i]));
      blocks_.erase(blocks_.begin(), blocks_.begin() + static_cast<std::ptrdiff_t>(read));
      start_ -= read * kBlock;
      end_ -= read * kBlock;
    }
    return taken;
  }

  void Clear() {
    for (BlockPool::Block& block : blocks_) pool_->Give(std::move(block));
    blocks_.clear();
    start_ = end_ = 0;
  }

 private:
  static constexpr size_t kBlock = BlockPool::kBlockBytes;

  BlockPool* const pool_;
  std::vector<BlockPool::Block> blocks_;
  size_t start_ = 0;  // both counted from where the first block begins
  size_t end_ = 0;
};

}  // namespace waep
