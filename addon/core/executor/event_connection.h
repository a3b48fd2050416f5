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

// What a client has subscribed to: events that go to it, or a ring that it writes to.
struct Subscription {
  uint64_t kind = 0;
  std::vector<uint64_t> serials;  // of what its handles were bound to
  std::vector<InUse> in_use;
  std::unique_ptr<EventStream> events;
  std::unique_ptr<UserRing> ring;
  uint64_t ring_bytes = 0;  // of buffers that the kernel has for it alone
};

// What is left of a subscription that had to make room.
struct Remains {
  uint64_t kind = 0;
  std::vector<uint64_t> serials;
  std::vector<PartCounts> counts;
};

// What the event connections of a session share.
struct EventContext {
  const SharedHandles* handles;
  const Limits* limits;
  int first_fd;  // copies of descriptors are numbered from here on
  AddressArena arena;
  RateQuota quota{0};
  size_t subscriptions = 0;
  size_t descriptors = 0;
  uint64_t ring_bytes = 0;
  // Those whose connection was lost, the oldest first. Somebody who subscribes to the same again
  // goes on with them: nothing is lost uncounted, and the buffers of perf events are still there.
  std::list<Subscription> parked;

  // The counts of those that were parked and had to make room, the oldest first, of no more parts
  // together than there may be descriptors.
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
  // Drops the oldest of those that are parked.
  void DropParked();
};

// A connection that carries events: answers SUBSCRIBE, UNSUBSCRIBE, CREDIT and WRITE, and sends
// what its streams have. Never waits.
class EventConnection {
 public:
  // How many descriptors a session's streams may hold.
  static constexpr uint64_t kMaxDescriptors = 512;

  // The connection is a socket that does not block.
  EventConnection(EventContext* context, unique_fd connection)
      : context_(context), connection_(std::move(connection)) {}
  ~EventConnection();

  // Receives and answers. False when the connection is over.
  bool Receive();
  // Sends as much as the socket takes. False when the connection is over.
  bool Send(int64_t now_ns);
  // When Send has more to do, whatever the descriptors say.
  [[nodiscard]] int64_t due_ns() const { return due_ns_; }

  [[nodiscard]] int fd() const { return connection_.get(); }
  [[nodiscard]] bool blocked() const { return !rest_.empty(); }
  // Whether requests are to be received: not while answers wait to be sent.
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

  // Starts sending the batch; false on a failure of the socket.
  bool SendBatch(EventStream* stream, const EventStream::Batch& batch, int64_t now_ns);
  bool SendRest(int64_t now_ns);

  EventContext* context_;
  unique_fd connection_;
  std::vector<uint8_t> received_;
  std::map<uint32_t, Subscription> streams_;
  uint32_t last_served_ = 0;
  std::vector<uint8_t> answers_;
  // What is being sent: answers, or a batch of a stream.
  std::vector<uint8_t> sending_;
  std::vector<iovec> rest_;
  EventStream* sending_stream_ = nullptr;
  EventStream::Batch batch_;
  int64_t due_ns_ = kNever;
  int64_t told_ns_ = 0;
};

}  // namespace waep
