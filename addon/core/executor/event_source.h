// SPDX-License-Identifier: MIT
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "../unique_fd.h"
#include "address_arena.h"

namespace waep {

// The records that a part of a source offers: whole records, in the kernel's buffer.
struct Offer {
  iovec pieces[2] = {};  // the second is empty unless the records wrap
  size_t bytes = 0;
  uint64_t records = 0;  // records for the reader: not discarded, not the kernel's own
  uint64_t lost = 0;     // records for which the kernel says that it had no room
  bool busy = false;     // more will follow as soon as a program finishes a record
  bool end = false;      // nothing will ever follow
};

// A source of events. It may have several parts, such as one buffer for each CPU, each with its own
// order of records. Not thread-safe.
class EventSource {
 public:
  virtual ~EventSource() = default;

  [[nodiscard]] virtual size_t parts() const { return 1; }
  // Returns the descriptor that poll(2) reports as readable for new records, or -1.
  [[nodiscard]] virtual int fd(size_t part) const = 0;
  // Finds whole records of at most `max_bytes` together, or a single larger one. At most
  // `max_records`, which is not 0, of them count. Returns 0 or a negative errno.
  virtual int Peek(size_t part, size_t max_bytes, uint64_t max_records, Offer* offer) = 0;
  // Frees the records that Peek has offered. Their memory belongs to the kernel again.
  virtual void Take(size_t part, const Offer& offer) = 0;
  // Returns the positions of reading and of writing, in bytes since the beginning.
  [[nodiscard]] virtual uint64_t position(size_t part) const = 0;
  [[nodiscard]] virtual uint64_t written(size_t part) const = 0;
  // Returns whether unread records stay for the next reader when this object is gone.
  [[nodiscard]] virtual bool lasting() const { return false; }
  // Returns the size of a part's buffer in bytes, or 0 if it has none.
  [[nodiscard]] virtual uint64_t capacity() const { return 0; }
};

// A BPF_MAP_TYPE_RINGBUF: kernel/bpf/ringbuf.c. Records are offered as they lie in the ring: a
// header of 8 bytes, whose first word has the length and two flag bits, and the data, padded to 8
// bytes.
class RingSource final : public EventSource {
 public:
  static constexpr uint32_t kBusy = 1u << 31;
  static constexpr uint32_t kDiscarded = 1u << 30;
  static constexpr uint64_t kHeaderBytes = 8;

  // `size` is the map's max_entries. Returns 0 or a negative errno.
  int Open(AddressArena* arena, unique_fd map, uint64_t size);

  [[nodiscard]] int fd(size_t) const override { return map_.get(); }
  int Peek(size_t part, size_t max_bytes, uint64_t max_records, Offer* offer) override;
  void Take(size_t part, const Offer& offer) override;
  [[nodiscard]] uint64_t position(size_t) const override { return position_; }
  [[nodiscard]] uint64_t written(size_t part) const override;
  [[nodiscard]] bool lasting() const override { return true; }
  [[nodiscard]] uint64_t capacity() const override { return size_; }

 private:
  unique_fd map_;
  Mapping mapping_;
  uint64_t size_ = 0;
  uint64_t position_ = 0;
};

// The buffers of perf events, one for each event: kernel/events/ring_buffer.c. Records are offered
// as perf_event_open(2) describes them.
class PerfSource final : public EventSource {
 public:
  // `pages` is the number of a buffer's pages, a power of two. Returns 0 or a negative errno.
  int Open(AddressArena* arena, std::vector<unique_fd> events, uint64_t pages);

  [[nodiscard]] size_t parts() const override { return buffers_.size(); }
  [[nodiscard]] int fd(size_t part) const override { return buffers_[part]->event.get(); }
  int Peek(size_t part, size_t max_bytes, uint64_t max_records, Offer* offer) override;
  void Take(size_t part, const Offer& offer) override;
  [[nodiscard]] uint64_t position(size_t part) const override { return buffers_[part]->position; }
  [[nodiscard]] uint64_t written(size_t part) const override;
  [[nodiscard]] uint64_t capacity() const override { return size_; }

 private:
  struct Buffer {
    unique_fd event;
    Mapping mapping;
    uint64_t position = 0;
  };
  [[nodiscard]] const uint8_t* At(const Buffer& buffer, uint64_t position) const;

  std::vector<std::unique_ptr<Buffer>> buffers_;
  uint64_t size_ = 0;
};

// A file that is read as it grows, such as trace_pipe or an iterator. The bytes of each read count
// as one record.
class FileSource final : public EventSource {
 public:
  int Open(AddressArena* arena, unique_fd file, size_t buffer_bytes);

  [[nodiscard]] int fd(size_t) const override { return -1; }
  int Peek(size_t part, size_t max_bytes, uint64_t max_records, Offer* offer) override;
  void Take(size_t part, const Offer& offer) override;
  [[nodiscard]] uint64_t position(size_t) const override { return position_; }
  [[nodiscard]] uint64_t written(size_t) const override { return position_ + have_; }

 private:
  unique_fd file_;
  Mapping buffer_;
  size_t buffer_bytes_ = 0;
  size_t have_ = 0;
  bool ended_ = false;
  uint64_t position_ = 0;
};

// A BPF_MAP_TYPE_USER_RINGBUF: the client writes records, and programs drain them.
class UserRing {
 public:
  // `size` is the map's max_entries. Returns 0 or a negative errno.
  int Open(AddressArena* arena, unique_fd map, uint64_t size);

  // Adds a record. Returns -ENOSPC if there is no room now, and -E2BIG if there can never be.
  int Write(const uint8_t* data, size_t size);

 private:
  unique_fd map_;
  Mapping mapping_;
  uint64_t size_ = 0;
};

}  // namespace waep
