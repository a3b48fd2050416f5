// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace waep {

struct Handle;

// The memory of one call: its buffers, of which the first is the attribute, and the words that its
// relocations have written.
struct CallImage {
  enum class Direction : uint8_t { kIn, kOut, kInOut };
  struct Buffer {
    uint8_t* memory;
    size_t size;
    Direction direction;

    // Returns the offset, from `begin` on, of the first byte that is not zero, or the size.
    [[nodiscard]] size_t FirstNonzero(size_t begin) const {
      while (begin < size && memory[begin] == 0) ++begin;
      return begin < size ? begin : size;
    }
  };
  enum RelocationKind : uint8_t { kPointer = 0, kFd32 = 1, kFd64 = 2, kPid = 3 };
  struct Relocation {
    uint32_t buffer;
    uint32_t offset;
    uint8_t kind;
    uint32_t target;
    uint64_t value;            // its value before relocation, and then the written one
    Handle* handle = nullptr;  // for a descriptor: its handle

    // Reads the relocated word from the memory of its buffer.
    [[nodiscard]] uint64_t Load(const uint8_t* memory) const {
      uint64_t word = 0;
      std::memcpy(&word, memory + offset, 4);
      if (width() == 8) std::memcpy(&word, memory + offset, 8);
      return word;
    }
    void Store(uint8_t* memory, uint64_t word) const {
      if (width() == 8) {
        std::memcpy(memory + offset, &word, 8);
      } else {
        std::memcpy(memory + offset, &word, 4);
      }
    }
    [[nodiscard]] bool is_descriptor() const { return kind == kFd32 || kind == kFd64; }
    [[nodiscard]] uint32_t width() const { return kind == kFd32 || kind == kPid ? 4 : 8; }
  };

  // A stretch of a buffer's memory that a word of the image points to.
  struct Stretch {
    enum Kind : uint8_t { kNull, kBytes, kUnknown };
    Kind kind = kNull;
    uint32_t buffer = 0;
    size_t offset = 0;
    const uint8_t* data = nullptr;
    size_t size = 0;
  };

  // The least number of inaccessible bytes behind each buffer.
  static constexpr size_t kGuardBytes = 4096;

  std::vector<Buffer> buffers;
  std::vector<Relocation> relocations;  // by buffer and offset

  void Clear() {
    buffers.clear();
    relocations.clear();
  }

  // Returns the little-endian number of up to 8 bytes at an offset of the attribute, as the kernel
  // will see it. Bytes that the caller did not send are zero.
  [[nodiscard]] uint64_t Word(size_t offset, size_t width) const {
    uint64_t value = 0;
    const Buffer& attribute = buffers[0];
    if (offset < attribute.size) {
      const size_t left = attribute.size - offset;
      std::memcpy(&value, attribute.memory + offset, width < left ? width : left);
    }
    return value;
  }

  // Returns the little-endian 32-bit number at an offset of a buffer. Bytes beyond its end are
  // zero.
  [[nodiscard]] uint32_t Word32(uint32_t buffer, size_t offset) const {
    uint32_t value = 0;
    const Buffer& where = buffers[buffer];
    if (offset < where.size) {
      std::memcpy(&value, where.memory + offset,
                  where.size - offset < 4 ? where.size - offset : sizeof value);
    }
    return value;
  }

  // Returns the relocation at an offset of a buffer, or null.
  [[nodiscard]] const Relocation* RelocationAt(uint32_t buffer, size_t offset) const {
    // Most calls have three or four relocations, and the first ones are asked for.
    constexpr size_t kFew = 8;
    if (relocations.size() > kFew) return FindRelocation(buffer, offset);
    for (const Relocation& relocation : relocations) {
      if (relocation.offset == offset && relocation.buffer == buffer) return &relocation;
    }
    return nullptr;
  }

  // Returns what the 8-byte word at an offset of a buffer points to. The target of a word that is
  // neither zero nor a relocation is unknown. It must be called after the relocations are written.
  [[nodiscard]] Stretch Behind(uint32_t buffer, size_t offset) const;

 private:
  [[nodiscard]] const Relocation* FindRelocation(uint32_t buffer, size_t offset) const;
};

}  // namespace waep
