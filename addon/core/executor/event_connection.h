// SPDX-License-Identifier: MIT
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../frame.h"
#include "address_arena.h"
#include "cbor.h"
#include "event_stream.h"
#include "rules.h"
#include "shared_handles.h"

namespace waep {

// A client's subscription: events that go to the client, or a ring that the client writes to.
struct Subscription {
  uint64_t kind = 0;
  std::vector<uint64_t> serials;  // of the objects that its handles were bound to
  std::vector<InUse> in_use;
  std::unique_ptr<EventStream> events;
  std::unique_ptr<UserRing> ring;
  uint64_t ring_bytes = 0;  // of the kernel's buffers for this subscription alone
};

// The remains of a parked subscription that had to make room.
struct Remains {
  uint64_t kind = 0;
  std::vector<uint64_t> serials;
  std::vector<PartCounts> counts;
};

// The state that the event connections of a session share.
struct EventContext {
  const SharedHandles* handles;
  const Limits* limits;
  int first_fd;  // copies of descriptors have numbers from here on
  AddressArena arena;
  RateQuota quota{0};
  size_t subscriptions = 0;
  size_t descriptors = 0;
  uint64_t ring_bytes = 0;
  // Subscriptions whose connection was lost, the oldest first. A client that subscribes to the same
  // objects again continues them. So every lost record is counted, and perf buffers keep their
  // records.
  std::list<Subscription> parked;

  // The counts of parked subscriptions that had to make room, the oldest first. Together they have
  // at most kMaxDescriptors parts.
  std::list<Remains> remains;

  void Drop(const Subscription& subscription) {
    --subscriptions;
    descriptors -= subscription.serials.size();
    ring_bytes -= subscription.ring_bytes;
  }
  [[nodiscard]] bool HasRoom(uint64_t bytes) const {
    const uint64_t most = limits->max_ring_bytes;
    return most == 0 || bytes <= most - std::min(most, ring_bytes);
  }
  // Drops the oldest parked subscription.
  void DropParked();
};

// A connection that carries events. It answers SUBSCRIBE, UNSUBSCRIBE, CREDIT and WRITE, and sends
// the records of its streams. It never waits.
class EventConnection {
 public:
  // The number of descriptors that a session's streams may hold.
  static constexpr uint64_t kMaxDescriptors = 512;

  // The connection is a non-blocking socket.
  EventConnection(EventContext* context, unique_fd connection)
      : context_(context), connection_(std::move(connection)) {}
  ~EventConnection();

  // Receives and answers. Returns false when the connection is over.
  bool Receive();
  // Sends as much as the socket takes. Returns false when the connection is over.
  bool Send(int64_t now_ns);
  // Returns when Send must be called again, even if no descriptor is ready.
  [[nodiscard]] int64_t due_ns() const { return due_ns_; }

  [[nodiscard]] int fd() const { return connection_.get(); }
  [[nodiscard]] bool blocked() const { return !rest_.empty(); }
  // Returns whether to receive requests. Not while answers wait to be sent.
  [[nodiscard]] bool receives() const { return !blocked(); }
  void Watch(std::vector<int>* descriptors) const;

 private:
  enum Source : uint64_t { kRing = 0, kPerf = 1, kFile = 2, kUserRing = 3 };

  bool Execute(const frame::Header& header, cbor::Reader body);
  void Subscribe(uint32_t id, cbor::Reader body);
  int OpenSource(uint32_t id, std::vector<unique_fd> descriptors, uint64_t size,
                 const StreamTerms& terms, Subscription* subscription);
  bool Resume(uint32_t id, const StreamTerms& terms, Subscription* subscription);
  bool RestoreCounts(Subscription* subscription);
  void Unsubscribe(uint32_t id, cbor::Reader body);
  bool Credit(cbor::Reader body);
  void Write(uint32_t id, cbor::Reader body);

  void Answer(uint32_t id, long result, int error);
  void Fail(uint32_t id, const char* code, const char* key, uint64_t number,
            const char* what = nullptr);
  void RefuseForeign(uint32_t id, uint64_t handle);
  void Malformed(uint32_t id, const std::string& why);
  template <typename Body>
  void Put(uint8_t type, uint32_t id, Body body);
  void PutCounts(uint32_t id, const EventStream::Batch& batch, std::vector<uint8_t>* out);

  // Starts to send the batch. Returns false if the socket fails.
  bool SendBatch(EventStream* stream, const EventStream::Batch& batch, int64_t now_ns);
  bool SendRest(int64_t now_ns);

  EventContext* context_;
  unique_fd connection_;
  std::vector<uint8_t> received_;
  std::map<uint32_t, Subscription> streams_;
  uint32_t last_served_ = 0;
  std::vector<uint8_t> answers_;
  // The bytes that are being sent: answers, or a batch of a stream.
  std::vector<uint8_t> sending_;
  std::vector<iovec> rest_;
  EventStream* sending_stream_ = nullptr;
  EventStream::Batch batch_;
  int64_t due_ns_ = kNever;
  int64_t told_ns_ = 0;
};

}  // namespace waep
