// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "event_source.h"

namespace waep {

constexpr int64_t kNever = INT64_MAX;

// The quota of records that a session may send within any second. Further records are dropped and
// counted.
class RateQuota {
 public:
  explicit RateQuota(uint64_t per_second) : per_second_(per_second) {}
  // Returns how many records may be sent now.
  uint64_t Left(int64_t now_ns);
  // Counts records as sent. At most Left() records may be spent.
  void Spend(uint64_t records, int64_t now_ns);

  // Counts records as dropped.
  void Drop(uint64_t records) { dropped_ += records; }
  [[nodiscard]] uint64_t dropped() const { return dropped_; }

 private:
  struct Spent {
    int64_t ms;
    uint64_t records;
  };
  uint64_t per_second_;
  uint64_t spent_records_ = 0;  // of all in `spent_`
  std::deque<Spent> spent_;     // in the last second, the oldest first
  uint64_t dropped_ = 0;
};

// The terms of a SUBSCRIBE. Times are in nanoseconds.
struct StreamTerms {
  uint64_t batch_bytes = 0;
  int64_t batch_ns = 0;
  uint64_t window_bytes = 0;
};

// The counts of a part's records.
struct PartCounts {
  uint64_t sequence = 0;  // records sent
  uint64_t lost = 0;      // records that the kernel reports as lost
  uint64_t dropped = 0;   // by the quota, with the kernel's losses among them
};

// A subscription: a source, the client's credit, and the counts of its records.
//
// It never copies a record and never stores one. Records are sent from the kernel's buffer and only
// then freed. Without credit the kernel's buffer fills, and programs see a slow reader.
class EventStream {
 public:
  EventStream(uint32_t id, std::unique_ptr<EventSource> source, StreamTerms terms);

  // Continues an earlier subscription to the same source that was cut off.
  void Resume(uint32_t id, StreamTerms terms);

  // Returns the counts of all parts, for a later reader of the same source. Records in buffers that
  // end with this stream count as sent, although nobody gets them.
  std::vector<PartCounts> LastCounts();
  // Begins with the counts of an earlier stream of the same source. It has as many parts.
  void Continue(const std::vector<PartCounts>& counts);

  struct Batch {
    size_t part = 0;
    Offer offer;
    uint64_t sequence = 0;  // records of the part that were sent before
    uint64_t position = 0;
    uint64_t written = 0;
    uint64_t lost = 0;     // records of this part that the kernel reports as lost
    uint64_t dropped = 0;  // records of this part that the quota dropped
    int error = 0;
    bool ended = false;
  };

  // Finds the batch to send now. `due_ns` becomes the time to look again, if that is sooner.
  bool Next(int64_t now_ns, RateQuota* quota, int64_t* due_ns, Batch* batch);
  // Returns the counts of a part that changed since they were last sent, or with `all` in any case.
  bool Counts(size_t part, bool all, Batch* batch);
  // Must be called when the batch has been sent.
  void Sent(const Batch& batch, int64_t now_ns);

  void Credit(uint64_t bytes);

  [[nodiscard]] uint32_t id() const { return id_; }
  [[nodiscard]] size_t parts() const { return source_->parts(); }
  // Returns the descriptors that report new records, unless the stream waits for something else.
  void Watch(std::vector<int>* descriptors) const;

 private:
  struct Part : PartCounts {
    uint64_t told_written = 0;
    uint64_t told_dropped = 0;
    int64_t not_before_ns = 0;  // earliest time of a batch that is not full
    bool waits = false;         // for something other than more records
  };

  bool Find(size_t part, int64_t now_ns, RateQuota* quota, int64_t* due_ns, Batch* batch);
  void Describe(size_t part, Batch* batch) const;

  uint32_t id_ = 0;
  std::unique_ptr<EventSource> source_;
  StreamTerms terms_;
  uint64_t credit_ = 0;
  std::vector<Part> parts_;
  size_t next_ = 0;
  bool ended_ = false;
};

}  // namespace waep
