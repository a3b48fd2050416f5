// SPDX-License-Identifier: MIT
#include "event_stream.h"

#include <algorithm>
#include <utility>

namespace waep {
namespace {

// A program is writing a record, which will be complete soon.
constexpr int64_t kBusyNs = 50'000;
// poll(2) does not report new data of files in time: for trace_pipe it waits until it is half full.
constexpr int64_t kFileNs = 20'000'000;
constexpr int64_t kMillisecondNs = 1'000'000;

}  // namespace

uint64_t RateQuota::Left(int64_t now_ns) {
  if (per_second_ == 0) return UINT64_MAX;
  // The times are whole milliseconds, so a record may have been sent at the end of its millisecond.
  for (; !spent_.empty() && now_ns / kMillisecondNs - spent_.front().ms > 1000;
       spent_.pop_front()) {
    spent_records_ -= spent_.front().records;
  }
  return per_second_ - spent_records_;
}

void RateQuota::Spend(uint64_t records, int64_t now_ns) {
  if (per_second_ == 0 || records == 0) return;
  const int64_t ms = now_ns / kMillisecondNs;
  if (spent_.empty() || spent_.back().ms != ms) spent_.push_back({ms, 0});
  spent_.back().records += records;
  spent_records_ += records;
}

EventStream::EventStream(uint32_t id, std::unique_ptr<EventSource> source, StreamTerms terms)
    : source_(std::move(source)), parts_(source_->parts()) {
  Resume(id, terms);
}

void EventStream::Resume(uint32_t id, StreamTerms terms) {
  id_ = id;
  terms_ = terms;
  credit_ = terms.window_bytes;
  // Do not let a small buffer fill while a batch fills: at a byte a nanosecond it would be full.
  const auto fills_ns = static_cast<int64_t>(source_->capacity());
  if (fills_ns > 0) terms_.batch_ns = std::min(terms_.batch_ns, fills_ns);
}

std::vector<PartCounts> EventStream::LastCounts() {
  std::vector<PartCounts> all;
  for (size_t part = 0; part < parts_.size(); ++part) {
    PartCounts counts = parts_[part];
    // Only up to this position, because programs may go on writing.
    const uint64_t end = source_->written(part);
    while (!ended_ && !source_->lasting() && source_->position(part) < end) {
      Offer offer;
      if (source_->Peek(part, 0, UINT64_MAX, &offer) != 0 || offer.bytes == 0) break;
      counts.sequence += offer.records;
      counts.lost += offer.lost;
      source_->Take(part, offer);
    }
    all.push_back(counts);
  }
  return all;
}

void EventStream::Continue(const std::vector<PartCounts>& counts) {
  for (size_t part = 0; part < parts_.size(); ++part) {
    static_cast<PartCounts&>(parts_[part]) = counts[part];
  }
}

void EventStream::Credit(uint64_t bytes) {
  credit_ += std::min(bytes, terms_.window_bytes - credit_);
}

void EventStream::Describe(size_t part, Batch* batch) const {
  const Part& counts = parts_[part];
  batch->part = part;
  batch->sequence = counts.sequence;
  batch->position = source_->position(part);
  batch->written = source_->written(part);
  batch->lost = counts.lost + batch->offer.lost;
  batch->dropped = counts.dropped;
}

bool EventStream::Next(int64_t now_ns, RateQuota* quota, int64_t* due_ns, Batch* batch) {
  if (ended_) return false;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const size_t part = (next_ + i) % parts_.size();
    parts_[part].waits = false;
    batch->offer = {};
    if (!Find(part, now_ns, quota, due_ns, batch)) continue;
    next_ = (part + 1) % parts_.size();
    return true;
  }
  return false;
}

bool EventStream::Find(size_t part, int64_t now_ns, RateQuota* quota, int64_t* due_ns,
                       Batch* batch) {
  Part& state = parts_[part];
  const auto wait = [&](int64_t until_ns) {
    state.waits = true;
    *due_ns = std::min(*due_ns, until_ns);
    return false;
  };
  if (credit_ == 0) return wait(kNever);
  const bool whole_window = credit_ == terms_.window_bytes;
  const uint64_t room = std::min(terms_.batch_bytes, credit_);
  const uint64_t left = quota->Left(now_ns);
  // When the quota is used up, all records that could have been sent are dropped.
  batch->error = source_->Peek(part, room, left == 0 ? UINT64_MAX : left, &batch->offer);
  const Offer& offer = batch->offer;
  if (batch->error != 0 || offer.end) {
    ended_ = true;
    batch->ended = true;
    batch->offer = {};
    Describe(part, batch);
    return true;
  }
  if (offer.bytes == 0) {
    if (offer.busy) return wait(now_ns + kBusyNs);
    return source_->fd(part) < 0 ? wait(now_ns + kFileNs) : false;
  }
  // A record that is larger than the window is sent alone.
  if (offer.bytes > credit_ && !whole_window) return wait(kNever);
  if (offer.bytes < room / 2 && now_ns < state.not_before_ns) return wait(state.not_before_ns);
  if (offer.records > left) {
    const uint64_t dropped = offer.records + offer.lost;
    state.dropped += dropped;
    quota->Drop(dropped);
    source_->Take(part, offer);
    return wait(now_ns);
  }
  quota->Spend(offer.records, now_ns);
  Describe(part, batch);
  return true;
}

bool EventStream::Counts(size_t part, bool all, Batch* batch) {
  *batch = {};
  Describe(part, batch);
  const Part& state = parts_[part];
  return all || batch->written != state.told_written || batch->dropped != state.told_dropped;
}

void EventStream::Sent(const Batch& batch, int64_t now_ns) {
  Part& state = parts_[batch.part];
  state.told_written = batch.written;
  state.told_dropped = batch.dropped;
  const Offer& offer = batch.offer;
  if (offer.bytes == 0) return;
  source_->Take(batch.part, offer);
  credit_ -= std::min<uint64_t>(credit_, offer.bytes);
  state.sequence += offer.records;
  state.lost += offer.lost;
  state.not_before_ns = now_ns + terms_.batch_ns;
}

void EventStream::Watch(std::vector<int>* descriptors) const {
  if (ended_) return;
  for (size_t part = 0; part < parts_.size(); ++part) {
    if (!parts_[part].waits) descriptors->push_back(source_->fd(part));
  }
}

}  // namespace waep
