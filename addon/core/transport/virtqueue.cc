// SPDX-License-Identifier: MIT
#include "virtqueue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

namespace waep {

struct Virtqueue::Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};

namespace {

constexpr size_t kDescriptorBytes = 16;
constexpr size_t kUsedElementBytes = 8;
constexpr size_t kRingHeaderBytes = 4;

constexpr uint16_t kNext = 1;
constexpr uint16_t kWrite = 2;
constexpr uint16_t kIndirect = 4;

constexpr uint16_t kAvailableNoInterrupt = 1;
constexpr uint16_t kUsedNoNotify = 1;

// The rings are little-endian as this machine is, and aligned as the specification asks.
uint16_t Load(const uint8_t* at) {
  return __atomic_load_n(reinterpret_cast<const uint16_t*>(at), __ATOMIC_ACQUIRE);
}

void Store(uint8_t* at, uint16_t value) {
  __atomic_store_n(reinterpret_cast<uint16_t*>(at), value, __ATOMIC_RELEASE);
}

void FullFence() { std::atomic_thread_fence(std::memory_order_seq_cst); }

bool Aligned(uint64_t address, uint64_t to) { return address % to == 0; }

}  // namespace

size_t Chain::Read(size_t offset, void* to, size_t length) const {
  auto* target = static_cast<uint8_t*>(to);
  size_t done = 0;
  for (size_t i = 0; i < count && done < length; ++i) {
    const iovec& part = parts[i];
    if (offset >= part.iov_len) {
      offset -= part.iov_len;
      continue;
    }
    const size_t size = std::min(part.iov_len - offset, length - done);
    std::memcpy(target + done, static_cast<const uint8_t*>(part.iov_base) + offset, size);
    done += size;
    offset = 0;
  }
  return done;
}

size_t Chain::Write(size_t offset, const void* from, size_t length) const {
  const auto* source = static_cast<const uint8_t*>(from);
  size_t done = 0;
  for (size_t i = 0; i < count && done < length; ++i) {
    const iovec& part = parts[i];
    if (offset >= part.iov_len) {
      offset -= part.iov_len;
      continue;
    }
    const size_t size = std::min(part.iov_len - offset, length - done);
    std::memcpy(static_cast<uint8_t*>(part.iov_base) + offset, source + done, size);
    done += size;
    offset = 0;
  }
  return done;
}

int Virtqueue::SetSize(uint32_t size) {
  if (size == 0 || size > kMaxSize || (size & (size - 1)) != 0 || started_) return -EINVAL;
  size_ = size;
  resolved_ = false;
  return 0;
}

int Virtqueue::SetAddresses(uint64_t descriptors, uint64_t available, uint64_t used) {
  if (!Aligned(descriptors, 16) || !Aligned(available, 2) || !Aligned(used, 4)) return -EINVAL;
  descriptors_address_ = descriptors;
  available_address_ = available;
  used_address_ = used;
  resolved_ = false;
  return 0;
}

int Virtqueue::SetBase(uint32_t index) {
  if (index > UINT16_MAX || started_) return -EINVAL;
  next_available_ = seen_available_ = static_cast<uint16_t>(index);
  return 0;
}

void Virtqueue::SetKick(unique_fd fd) {
  kick_ = std::move(fd);
  started_ = true;
}

void Virtqueue::SetCall(unique_fd fd) {
  call_ = std::move(fd);
  // The descriptor's flags are shared with the VMM, so they must not be changed here.
  call_may_block_ = call_.valid() && (::fcntl(call_.get(), F_GETFL) & O_NONBLOCK) == 0;
  if (running()) Signal();
}

void Virtqueue::Resolve(const GuestMemory& memory) {
  const bool was_resolved = std::exchange(resolved_, false);
  if (size_ == 0) return;
  descriptors_ = memory.FindUser(descriptors_address_, size_ * kDescriptorBytes);
  available_ = memory.FindUser(available_address_, kRingHeaderBytes + size_ * 2 + 2);
  used_ = memory.FindUser(used_address_, kRingHeaderBytes + size_ * kUsedElementBytes + 2);
  resolved_ = descriptors_ != nullptr && available_ != nullptr && used_ != nullptr &&
              Aligned(reinterpret_cast<uintptr_t>(descriptors_), 16) &&
              Aligned(reinterpret_cast<uintptr_t>(available_), 2) &&
              Aligned(reinterpret_cast<uintptr_t>(used_), 4);
  if (!resolved_ || was_resolved) return;
  next_used_ = published_ = Load(used_ + 2);
  held_descriptors_ = 0;
  held_bytes_ = 0;
  signalled_ = false;
  kicks_enabled_ = true;
}

uint16_t Virtqueue::Stop() {
  started_ = resolved_ = broken_ = false;
  kick_.reset();
  return next_available_;
}

bool Virtqueue::Available() {
  if (!running() || broken_) return false;
  if (seen_available_ != next_available_) return true;
  seen_available_ = Load(available_ + 2);
  if (static_cast<uint16_t>(seen_available_ - next_available_) > size_) return Break();
  return seen_available_ != next_available_;
}

bool Virtqueue::Take(const GuestMemory& memory, Direction direction, Chain* chain) {
  if (!Available()) return false;
  const uint16_t head = Load(available_ + kRingHeaderBytes + (next_available_ % size_) * 2);
  if (head >= size_) return Break();
  chain->head = head;
  chain->count = chain->bytes = 0;
  if (!Walk(memory, direction, chain)) return Break();
  ++next_available_;
  held_descriptors_ += static_cast<uint32_t>(chain->count);
  held_bytes_ += chain->bytes;
  return true;
}

bool Virtqueue::Walk(const GuestMemory& memory, Direction direction, Chain* chain) {
  const uint8_t* table = descriptors_;
  uint64_t table_address = 0;  // of an indirect table
  uint32_t table_size = size_;
  uint32_t index = chain->head;
  // A circle of descriptors would otherwise never end.
  for (uint32_t steps = 0; steps <= Chain::kMaxParts; ++steps) {
    if (index >= table_size) return false;
    Descriptor descriptor;
    if (table != nullptr) {
      std::memcpy(&descriptor, table + index * kDescriptorBytes, sizeof descriptor);
    } else {
      // An indirect table may lie across two regions.
      uint8_t bytes[kDescriptorBytes];
      for (size_t have = 0; have < sizeof bytes;) {
        uint64_t length = sizeof bytes - have;
        const uint8_t* const at =
            memory.Find(table_address + index * kDescriptorBytes + have, &length);
        if (at == nullptr) return false;
        std::memcpy(bytes + have, at, length);
        have += length;
      }
      std::memcpy(&descriptor, bytes, sizeof descriptor);
    }
    if ((descriptor.flags & kIndirect) != 0) {
      const bool valid = table_address == 0 && (descriptor.flags & kNext) == 0 &&
                         descriptor.address != 0 && descriptor.length != 0 &&
                         descriptor.length % kDescriptorBytes == 0 &&
                         descriptor.length / kDescriptorBytes <= Chain::kMaxParts &&
                         descriptor.address + descriptor.length > descriptor.address;
      if (!valid) return false;
      table = nullptr;
      table_address = descriptor.address;
      table_size = descriptor.length / kDescriptorBytes;
      index = 0;
      continue;
    }
    if (!Append(memory, descriptor, direction, chain)) return false;
    if ((descriptor.flags & kNext) == 0) return true;
    index = descriptor.next;
  }
  return false;
}

bool Virtqueue::Append(const GuestMemory& memory, const Descriptor& descriptor, Direction direction,
                       Chain* chain) {
  const bool to_driver = (descriptor.flags & kWrite) != 0;
  if (to_driver != (direction == Direction::kToDriver)) return false;
  uint64_t address = descriptor.address;
  uint64_t left = descriptor.length;
  if (address + left < address) return false;
  while (left > 0) {
    uint64_t length = left;
    uint8_t* const at = memory.Find(address, &length);
    if (at == nullptr || chain->count == Chain::kMaxParts) return false;
    chain->parts[chain->count++] = {at, length};
    chain->bytes += length;
    address += length;
    left -= length;
  }
  return true;
}

bool Virtqueue::Break() {
  broken_ = true;
  return false;
}

void Virtqueue::Give(uint16_t head, uint32_t written) {
  if (!running()) return;
  const uint32_t element[2] = {head, written};
  std::memcpy(used_ + kRingHeaderBytes + (next_used_ % size_) * kUsedElementBytes, element,
              sizeof element);
  ++next_used_;
}

void Virtqueue::Publish() {
  if (!running() || next_used_ == published_) return;
  const uint16_t before = std::exchange(published_, next_used_);
  held_descriptors_ = 0;
  held_bytes_ = 0;
  Store(used_ + 2, next_used_);
  // The driver asks for an interrupt and then reads the index. We write the index and then check.
  FullFence();
  bool wanted;
  if (!event_index_) {
    wanted = (Load(available_) & kAvailableNoInterrupt) == 0;
  } else {
    const uint16_t event = Load(available_ + kRingHeaderBytes + size_ * 2);
    wanted =
        static_cast<uint16_t>(next_used_ - event - 1) < static_cast<uint16_t>(next_used_ - before);
    if (!std::exchange(signalled_, true)) wanted = true;
  }
  if (wanted) Signal();
}

void Virtqueue::Signal() {
  if (!call_.valid()) return;
  if (call_may_block_) {
    pollfd watch = {call_.get(), POLLOUT, 0};
    if (::poll(&watch, 1, 0) != 1 || (watch.revents & POLLOUT) == 0) return;
  }
  const uint64_t one = 1;
  // A full counter means that the VMM has an interrupt to deliver already.
  [[maybe_unused]] const ssize_t written = ::write(call_.get(), &one, sizeof one);
}

bool Virtqueue::EnableKicks() {
  if (!running() || broken_) return false;
  kicks_enabled_ = true;
  if (event_index_) {
    Store(used_ + kRingHeaderBytes + size_ * kUsedElementBytes, next_available_);
  } else {
    Store(used_, 0);
  }
  FullFence();
  return Available();
}

void Virtqueue::DisableKicks() {
  if (!running() || !std::exchange(kicks_enabled_, false)) return;
  if (event_index_) {
    // As far away as the index can be, so that no buffer reaches it soon.
    Store(used_ + kRingHeaderBytes + size_ * kUsedElementBytes,
          static_cast<uint16_t>(next_available_ + 0x4000));
  } else {
    Store(used_, kUsedNoNotify);
  }
}

}  // namespace waep
