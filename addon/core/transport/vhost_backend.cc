// SPDX-License-Identifier: MIT
#include "vhost_backend.h"

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace waep {
namespace {

using vhost_user::Message;

// Bits of SET_FEATURES.
constexpr uint64_t kIndirectDescriptors = 1ull << 28;
constexpr uint64_t kEventIndex = 1ull << 29;
constexpr uint64_t kProtocolFeatures = 1ull << 30;
constexpr uint64_t kVersion1 = 1ull << 32;

// Bits of SET_PROTOCOL_FEATURES.
constexpr uint64_t kMultipleQueues = 1ull << 0;
constexpr uint64_t kReplyAck = 1ull << 3;
constexpr uint64_t kBackendRequests = 1ull << 5;
constexpr uint64_t kConfig = 1ull << 9;
constexpr uint64_t kConfigureMemorySlots = 1ull << 15;
// QEMU refuses a vsock device without CONFIG, and user-mode Linux one without BACKEND_REQ.
constexpr uint64_t kOffered =
    kMultipleQueues | kReplyAck | kBackendRequests | kConfig | kConfigureMemorySlots;

// In SET_VRING_KICK and _CALL: the queue's index, and that there is no descriptor.
constexpr uint64_t kIndexMask = 0xff;
constexpr uint64_t kNoDescriptor = 1 << 8;

struct QueueState {
  uint32_t index;
  uint32_t value;
};

struct QueueAddresses {
  uint32_t index;
  uint32_t flags;
  uint64_t descriptors;
  uint64_t used;
  uint64_t available;
  uint64_t log;
};

// A region on the wire; also the order of MemoryRegion's fields.
struct WireRegion {
  uint64_t guest_address;
  uint64_t size;
  uint64_t user_address;
  uint64_t offset;
};

struct MemoryTable {
  uint32_t count;
  uint32_t padding;
};

struct SingleRegion {
  uint64_t padding;
  WireRegion region;
};

struct ConfigHeader {
  uint32_t offset;
  uint32_t size;
  uint32_t flags;
};

template <typename T>
T Body(const Message& message, size_t offset = 0) {
  T value;
  std::memcpy(&value, message.body + offset, sizeof value);
  return value;
}

template <typename T>
int Answered(VhostBackend::Answer* answer, const T& value) {
  static_assert(sizeof value <= sizeof answer->body);
  std::memcpy(answer->body, &value, sizeof value);
  answer->size = sizeof value;
  return 0;
}

MemoryRegion ToRegion(const WireRegion& wire) {
  return {wire.guest_address, wire.size, wire.user_address, wire.offset};
}

}  // namespace

struct VhostBackend::Row {
  uint32_t request;
  uint32_t body_bytes;  // at least
  int (VhostBackend::*handle)(Message&, Answer*);
};

const VhostBackend::Row VhostBackend::kRows[] = {
    {1, 0, &VhostBackend::GetFeatures},
    {2, 8, &VhostBackend::SetFeatures},
    {3, 0, &VhostBackend::Ignore},  // SET_OWNER
    {4, 0, &VhostBackend::ResetOwner},
    {5, sizeof(MemoryTable), &VhostBackend::SetMemoryTable},
    {8, sizeof(QueueState), &VhostBackend::SetQueueSize},
    {9, sizeof(QueueAddresses), &VhostBackend::SetQueueAddresses},
    {10, sizeof(QueueState), &VhostBackend::SetQueueBase},
    {11, sizeof(QueueState), &VhostBackend::GetQueueBase},
    {12, 8, &VhostBackend::SetQueueKick},
    {13, 8, &VhostBackend::SetQueueCall},
    {14, 8, &VhostBackend::Ignore},  // SET_VRING_ERR
    {15, 0, &VhostBackend::GetProtocolFeatures},
    {16, 8, &VhostBackend::SetProtocolFeatures},
    {17, 0, &VhostBackend::GetQueueCount},
    {18, sizeof(QueueState), &VhostBackend::SetQueueEnabled},
    {21, 0, &VhostBackend::Ignore},  // SET_BACKEND_REQ_FD: there is nothing to ask for
    {24, sizeof(ConfigHeader), &VhostBackend::GetConfig},
    {36, 0, &VhostBackend::GetMaxMemorySlots},
    {37, sizeof(SingleRegion), &VhostBackend::AddMemory},
    {38, sizeof(SingleRegion), &VhostBackend::RemoveMemory},
};

int VhostBackend::Handle(Message& message, Answer* answer) {
  answer->size = 0;
  for (const Row& row : kRows) {
    if (row.request != message.header.request) continue;
    if (message.header.size < row.body_bytes) return -EINVAL;
    return (this->*row.handle)(message, answer);
  }
  return -ENOTSUP;
}

bool VhostBackend::acknowledges() const { return (protocol_features_ & kReplyAck) != 0; }

int VhostBackend::GetFeatures(Message&, Answer* answer) {
  return Answered(answer, device_features_ | kIndirectDescriptors | kEventIndex |
                              kProtocolFeatures | kVersion1);
}

int VhostBackend::SetFeatures(Message& message, Answer*) {
  features_ = Body<uint64_t>(message);
  for (Virtqueue& queue : queues_) queue.SetEventIndex((features_ & kEventIndex) != 0);
  return 0;
}

int VhostBackend::GetProtocolFeatures(Message&, Answer* answer) {
  return Answered(answer, kOffered);
}

int VhostBackend::SetProtocolFeatures(Message& message, Answer*) {
  protocol_features_ = Body<uint64_t>(message) & kOffered;
  return 0;
}

int VhostBackend::GetQueueCount(Message&, Answer* answer) {
  return Answered(answer, uint64_t{kQueues});
}

int VhostBackend::GetMaxMemorySlots(Message&, Answer* answer) {
  return Answered(answer, uint64_t{GuestMemory::kMaxRegions});
}

int VhostBackend::Ignore(Message&, Answer*) { return 0; }

int VhostBackend::ResetOwner(Message&, Answer*) {
  for (Virtqueue& queue : queues_) queue.Stop();
  return 0;
}

int VhostBackend::SetMemoryTable(Message& message, Answer*) {
  const auto table = Body<MemoryTable>(message);
  if (table.count > vhost_user::kMaxDescriptors || table.count != message.descriptor_count ||
      message.header.size < sizeof table + table.count * sizeof(WireRegion)) {
    return -EINVAL;
  }
  memory_.Clear();
  int result = 0;
  for (uint32_t i = 0; i < table.count && result == 0; ++i) {
    const auto wire = Body<WireRegion>(message, sizeof table + i * sizeof(WireRegion));
    result = memory_.Add(ToRegion(wire), message.descriptors[i]);
  }
  if (result != 0) memory_.Clear();
  MemoryChanged();
  return result;
}

int VhostBackend::AddMemory(Message& message, Answer*) {
  if (message.descriptor_count != 1) return -EINVAL;
  const auto single = Body<SingleRegion>(message);
  const int result = memory_.Add(ToRegion(single.region), message.descriptors[0]);
  MemoryChanged();
  return result;
}

int VhostBackend::RemoveMemory(Message& message, Answer*) {
  const int result = memory_.Remove(ToRegion(Body<SingleRegion>(message).region));
  MemoryChanged();
  return result;
}

void VhostBackend::MemoryChanged() {
  for (Virtqueue& queue : queues_) queue.Resolve(memory_);
}

Virtqueue* VhostBackend::QueueOf(const Message& message) {
  const auto index = Body<uint32_t>(message);
  return index < kQueues ? &queues_[index] : nullptr;
}

int VhostBackend::SetQueueSize(Message& message, Answer*) {
  Virtqueue* const queue = QueueOf(message);
  return queue == nullptr ? -EINVAL : queue->SetSize(Body<QueueState>(message).value);
}

int VhostBackend::SetQueueAddresses(Message& message, Answer*) {
  Virtqueue* const queue = QueueOf(message);
  if (queue == nullptr) return -EINVAL;
  const auto addresses = Body<QueueAddresses>(message);
  const int result =
      queue->SetAddresses(addresses.descriptors, addresses.available, addresses.used);
  if (result == 0) queue->Resolve(memory_);
  return result;
}

int VhostBackend::SetQueueBase(Message& message, Answer*) {
  Virtqueue* const queue = QueueOf(message);
  return queue == nullptr ? -EINVAL : queue->SetBase(Body<QueueState>(message).value);
}

int VhostBackend::GetQueueBase(Message& message, Answer* answer) {
  Virtqueue* const queue = QueueOf(message);
  if (queue == nullptr) return -EINVAL;
  const uint32_t base = queue->Stop();
  return Answered(answer, QueueState{Body<QueueState>(message).index, base});
}

int VhostBackend::SetQueueKick(Message& message, Answer*) {
  const auto value = Body<uint64_t>(message);
  const bool bare = (value & kNoDescriptor) != 0;
  if ((value & kIndexMask) >= kQueues || message.descriptor_count != (bare ? 0 : 1)) return -EINVAL;
  Virtqueue& queue = queues_[value & kIndexMask];
  queue.SetKick(bare ? unique_fd() : std::move(message.descriptors[0]));
  queue.Resolve(memory_);
  return 0;
}

int VhostBackend::SetQueueCall(Message& message, Answer*) {
  const auto value = Body<uint64_t>(message);
  const bool bare = (value & kNoDescriptor) != 0;
  if ((value & kIndexMask) >= kQueues || message.descriptor_count != (bare ? 0 : 1)) return -EINVAL;
  queues_[value & kIndexMask].SetCall(bare ? unique_fd() : std::move(message.descriptors[0]));
  return 0;
}

int VhostBackend::SetQueueEnabled(Message& message, Answer*) {
  Virtqueue* const queue = QueueOf(message);
  if (queue == nullptr) return -EINVAL;
  queue->SetEnabled(Body<QueueState>(message).value != 0);
  return 0;
}

int VhostBackend::GetConfig(Message& message, Answer* answer) {
  const auto header = Body<ConfigHeader>(message);
  const size_t bytes = sizeof header + header.size;
  if (header.size > sizeof answer->body - sizeof header || bytes > message.header.size) {
    return -EINVAL;
  }
  std::memcpy(answer->body, &header, sizeof header);
  std::memset(answer->body + sizeof header, 0, header.size);
  if (header.offset < config_bytes_) {
    const size_t size = std::min<size_t>(header.size, config_bytes_ - header.offset);
    std::memcpy(answer->body + sizeof header, static_cast<const uint8_t*>(config_) + header.offset,
                size);
  }
  answer->size = bytes;
  return 0;
}

}  // namespace waep
