// SPDX-License-Identifier: MIT
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "../unique_fd.h"
#include "guest_memory.h"

namespace waep {

// A chain of buffers that a driver has made available, in order, in the guest's memory. The
// descriptors were read once and checked. The contents of the buffers may change at any time.
struct Chain {
  // No chain of a driver is longer: Linux limits itself to 1024 (virtio_ring.c, VIRTQUEUE_MAX…).
  static constexpr size_t kMaxParts = 1024;

  uint16_t head = 0;
  size_t count = 0;
  size_t bytes = 0;
  iovec parts[kMaxParts];

  // Copy bytes from or to the buffers at `offset`, and return how many there were.
  size_t Read(size_t offset, void* to, size_t length) const;
  size_t Write(size_t offset, const void* from, size_t length) const;
};

// The device's side of one split virtqueue (virtio 1.2, section 2.7).
//
// A driver that breaks the rules stops its own queue (`broken`) and nothing else.
class Virtqueue {
 public:
  enum class Direction { kFromDriver, kToDriver };

  // Settings from the VMM. The functions with a result return 0 or -EINVAL.
  int SetSize(uint32_t size);
  int SetAddresses(uint64_t descriptors, uint64_t available, uint64_t used);
  int SetBase(uint32_t index);
  void SetEventIndex(bool on) { event_index_ = on; }
  void SetKick(unique_fd fd);
  void SetCall(unique_fd fd);
  void SetEnabled(bool on) { enabled_ = on; }

  // Finds the rings in the memory. Must be called when the memory has changed, and before the queue
  // is used.
  void Resolve(const GuestMemory& memory);
  // Takes the queue out of use. Returns the position at which the driver will go on.
  uint16_t Stop();

  [[nodiscard]] bool running() const { return started_ && enabled_ && resolved_; }
  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] int kick() const { return kick_.get(); }

  // Returns whether the driver has made buffers available.
  [[nodiscard]] bool Available();
  // Takes the next chain of buffers. Returns false when there is none, or when the queue is broken.
  bool Take(const GuestMemory& memory, Direction direction, Chain* chain);
  // Gives a chain back, with the number of bytes written to it.
  void Give(uint16_t head, uint32_t written);
  // Publishes the chains that were given back, and interrupts the driver if it wants that.
  void Publish();
  // The descriptors and the bytes that were taken since the last Publish.
  [[nodiscard]] uint32_t held_descriptors() const { return held_descriptors_; }
  [[nodiscard]] size_t held_bytes() const { return held_bytes_; }
  [[nodiscard]] uint32_t size() const { return size_; }

  // Stops the queue of a driver that breaks the rules. Returns false.
  bool Break();

  // Asks the driver for notifications. Returns true if something has become available meanwhile.
  bool EnableKicks();
  void DisableKicks();

 private:
  static constexpr uint32_t kMaxSize = 1024;

  struct Descriptor;
  bool Walk(const GuestMemory& memory, Direction direction, Chain* chain);
  bool Append(const GuestMemory& memory, const Descriptor& descriptor, Direction direction,
              Chain* chain);
  void Signal();

  uint32_t size_ = 0;
  uint64_t descriptors_address_ = 0;
  uint64_t available_address_ = 0;
  uint64_t used_address_ = 0;
  uint8_t* descriptors_ = nullptr;
  uint8_t* available_ = nullptr;
  uint8_t* used_ = nullptr;
  unique_fd kick_;
  unique_fd call_;
  bool call_may_block_ = false;
  bool event_index_ = false;
  bool started_ = false;
  bool enabled_ = true;
  bool resolved_ = false;
  bool broken_ = false;
  bool kicks_enabled_ = true;
  bool signalled_ = false;  // an interrupt was sent since the start
  uint16_t next_available_ = 0;
  uint16_t seen_available_ = 0;
  uint16_t next_used_ = 0;
  uint16_t published_ = 0;
  // The descriptors and the bytes that have not been published:
  uint32_t held_descriptors_ = 0;
  size_t held_bytes_ = 0;
};

}  // namespace waep
