// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include "../unique_fd.h"
#include "guest_memory.h"
#include "vhost_user.h"
#include "virtqueue.h"

namespace waep {

// The parts of a device that a VMM sets up: features, memory and queues. It knows nothing of the
// device itself except its configuration space.
class VhostBackend {
 public:
  // The answer to a message, if it has one in addition to the acknowledgement.
  struct Answer {
    size_t size = 0;
    alignas(8) uint8_t body[vhost_user::kMaxBodyBytes];
  };

  // `config` must outlive the object.
  VhostBackend(uint64_t device_features, const void* config, size_t config_bytes)
      : device_features_(device_features), config_(config), config_bytes_(config_bytes) {}

  // Does what a message asks for. Returns 0, -ENOTSUP for a request that this back end did not
  // offer, or another negative errno when the message makes no sense.
  int Handle(vhost_user::Message& message, Answer* answer);
  // Returns whether the VMM waits for an acknowledgement of each message that asks for one.
  [[nodiscard]] bool acknowledges() const;

  // Returns whether the guest's driver has set up both of its queues.
  [[nodiscard]] bool running() const { return receive().running() && transmit().running(); }

  [[nodiscard]] GuestMemory& memory() { return memory_; }
  // Buffers to the driver, and buffers from the driver.
  [[nodiscard]] Virtqueue& receive() { return queues_[0]; }
  [[nodiscard]] Virtqueue& transmit() { return queues_[1]; }
  [[nodiscard]] const Virtqueue& receive() const { return queues_[0]; }
  [[nodiscard]] const Virtqueue& transmit() const { return queues_[1]; }

 private:
  // Two queues carry packets. The third is for events, which QEMU handles itself.
  static constexpr size_t kQueues = 3;

  struct Row;
  static const Row kRows[];

  int GetFeatures(vhost_user::Message& message, Answer* answer);
  int SetFeatures(vhost_user::Message& message, Answer* answer);
  int GetProtocolFeatures(vhost_user::Message& message, Answer* answer);
  int SetProtocolFeatures(vhost_user::Message& message, Answer* answer);
  int GetQueueCount(vhost_user::Message& message, Answer* answer);
  int GetMaxMemorySlots(vhost_user::Message& message, Answer* answer);
  int Ignore(vhost_user::Message& message, Answer* answer);
  int ResetOwner(vhost_user::Message& message, Answer* answer);
  int SetMemoryTable(vhost_user::Message& message, Answer* answer);
  int AddMemory(vhost_user::Message& message, Answer* answer);
  int RemoveMemory(vhost_user::Message& message, Answer* answer);
  int SetQueueSize(vhost_user::Message& message, Answer* answer);
  int SetQueueAddresses(vhost_user::Message& message, Answer* answer);
  int SetQueueBase(vhost_user::Message& message, Answer* answer);
  int GetQueueBase(vhost_user::Message& message, Answer* answer);
  int SetQueueKick(vhost_user::Message& message, Answer* answer);
  int SetQueueCall(vhost_user::Message& message, Answer* answer);
  int SetQueueEnabled(vhost_user::Message& message, Answer* answer);
  int GetConfig(vhost_user::Message& message, Answer* answer);

  Virtqueue* QueueOf(const vhost_user::Message& message);
  void MemoryChanged();

  const uint64_t device_features_;
  const void* const config_;
  const size_t config_bytes_;
  uint64_t features_ = 0;
  uint64_t protocol_features_ = 0;
  GuestMemory memory_;
  Virtqueue queues_[kQueues];
};

}  // namespace waep
