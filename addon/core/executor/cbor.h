// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

// The part of RFC 8949 that frames are made of: integers, definite byte and text strings, definite
// arrays and maps, booleans.
namespace waep::cbor {

enum Major : uint8_t {
  kUint = 0,
  kNegative = 1,
  kBytes = 2,
  kText = 3,
  kArray = 4,
  kMap = 5,
  kSimple = 7
};

struct Bytes {
  const uint8_t* data = nullptr;
  size_t size = 0;
};

// Reads items in order. Every Read returns false, and leaves the reader where it was, when the next
// item is not of the kind asked for or reaches beyond the end.
class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}

  [[nodiscard]] bool ReadUint(uint64_t* value) { return ReadHead(kUint, value); }

  // A signed integer of 32 bits.
  [[nodiscard]] bool ReadInt(int32_t* value) {
    const uint8_t* const start = at_;
    const bool negative = Peek() == kNegative;
    uint64_t magnitude = 0;
    if (ReadHead(negative ? kNegative : kUint, &magnitude) && magnitude <= INT32_MAX) {
      const auto number = static_cast<int32_t>(magnitude);
      *value = negative ? -1 - number : number;
      return true;
    }
    at_ = start;
    return false;
  }

  // An unsigned integer of at most `maximum`.
  [[nodiscard]] bool ReadUint(uint64_t maximum, uint64_t* value) {
    const uint8_t* const start = at_;
    if (ReadHead(kUint, value) && *value <= maximum) return true;
    at_ = start;
    return false;
  }

  [[nodiscard]] bool ReadBytes(Bytes* value) { return ReadString(kBytes, value); }

  [[nodiscard]] bool ReadText(std::string_view* value) {
    Bytes bytes;
    if (!ReadString(kText, &bytes)) return false;
    *value = {reinterpret_cast<const char*>(bytes.data), bytes.size};
    return true;
  }

  // Reads the head of an array of `*count` items. Each item has at least a byte, so a count beyond
  // the remaining bytes is refused here, and no caller allocates memory for it.
  [[nodiscard]] bool ReadArray(uint64_t* count) {
    const uint8_t* const start = at_;
    if (ReadHead(kArray, count) && *count <= Left()) return true;
    at_ = start;
    return false;
  }

  [[nodiscard]] bool ReadArrayOf(uint64_t count) {
    const uint8_t* const start = at_;
    uint64_t found = 0;
    if (ReadHead(kArray, &found) && found == count) return true;
    at_ = start;
    return false;
  }

  [[nodiscard]] bool ReadBool(bool* value) {
    if (at_ == end_ || (*at_ != 0xf4 && *at_ != 0xf5)) return false;
    *value = *at_++ == 0xf5;
    return true;
  }

  // The major type of the next item, or -1 at the end.
  [[nodiscard]] int Peek() const { return at_ == end_ ? -1 : *at_ >> 5; }
  [[nodiscard]] size_t Left() const { return static_cast<size_t>(end_ - at_); }
  [[nodiscard]] bool AtEnd() const { return at_ == end_; }

 private:
  bool ReadHead(Major major, uint64_t* value) {
    if (at_ == end_ || *at_ >> 5 != major) return false;
    const unsigned info = *at_ & 0x1fu;
    if (info < 24) {
      *value = info;
      ++at_;
      return true;
    }
    if (info > 27) return false;  // indefinite lengths and reserved values
    const size_t width = size_t{1} << (info - 24);
    if (Left() <= width) return false;
    uint64_t result = 0;
    for (size_t i = 1; i <= width; ++i) result = result << 8 | at_[i];
    *value = result;
    at_ += 1 + width;
    return true;
  }

  bool ReadString(Major major, Bytes* value) {
    const uint8_t* const start = at_;
    uint64_t size = 0;
    if (ReadHead(major, &size) && size <= Left()) {
      *value = {at_, static_cast<size_t>(size)};
      at_ += size;
      return true;
    }
    at_ = start;
    return false;
  }

  const uint8_t* at_;
  const uint8_t* end_;
};

constexpr size_t kMaxHeadBytes = 9;

// Writes the head of an item in its shortest form and returns its length.
inline size_t PutHead(uint8_t* out, Major major, uint64_t value) {
  const auto type = static_cast<uint8_t>(major << 5);
  if (value < 24) {
    out[0] = static_cast<uint8_t>(type | value);
    return 1;
  }
  const unsigned info = value <= 0xff ? 24 : value <= 0xffff ? 25 : value <= 0xffffffff ? 26 : 27;
  const size_t width = size_t{1} << (info - 24);
  out[0] = static_cast<uint8_t>(type | info);
  for (size_t i = 0; i < width; ++i)
    out[1 + i] = static_cast<uint8_t>(value >> (8 * (width - 1 - i)));
  return 1 + width;
}

// Appends to a vector. It is for code that is not performance-critical.
class Writer {
 public:
  explicit Writer(std::vector<uint8_t>* out) : out_(out) {}

  void Head(Major major, uint64_t value) {
    if (value < 24) {
      out_->push_back(static_cast<uint8_t>(major << 5 | value));
      return;
    }
    uint8_t head[kMaxHeadBytes];
    out_->insert(out_->end(), head, head + PutHead(head, major, value));
  }
  void Int(int64_t value) {
    if (value < 0) {
      Head(kNegative, static_cast<uint64_t>(-1 - value));
    } else {
      Head(kUint, static_cast<uint64_t>(value));
    }
  }
  void Text(std::string_view text) {
    Head(kText, text.size());
    out_->insert(out_->end(), text.begin(), text.end());
  }
  void Raw(const uint8_t* data, size_t size) { out_->insert(out_->end(), data, data + size); }

 private:
  std::vector<uint8_t>* out_;
};

}  // namespace waep::cbor
