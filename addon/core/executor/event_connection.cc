// SPDX-License-Identifier: MIT
#include "event_connection.h"

#include <errno.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "../sockets.h"

namespace waep {
namespace {

constexpr uint64_t kMaxRequestBytes = 1u << 20;
constexpr size_t kReceiveBytes = 64 * 1024;
constexpr uint64_t kMaxBatchBytes = 1u << 20;
constexpr uint64_t kMaxWindowBytes = 64u << 20;
constexpr size_t kMaxWrites = 4096;
// The time between two reports of counts while nothing is sent.
constexpr int64_t kCountsNs = 100'000'000;
// After this many batches, requests get a turn.
constexpr int kTurn = 16;
constexpr uint64_t kPageBytes = 4096;

int64_t MonotonicNs() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

void EventContext::DropParked() {
  Subscription& oldest = parked.front();
  if (oldest.events != nullptr) {
    remains.push_back({oldest.kind, oldest.serials, oldest.events->LastCounts()});
    size_t parts = 0;
    for (const Remains& each : remains) parts += each.counts.size();
    for (; parts > EventConnection::kMaxDescriptors; remains.pop_front()) {
      parts -= remains.front().counts.size();
    }
  }
  Drop(oldest);
  parked.pop_front();
}

EventConnection::~EventConnection() {
  for (auto& [id, stream] : streams_) context_->parked.push_back(std::move(stream));
}

void EventConnection::Watch(std::vector<int>* descriptors) const {
  if (blocked()) return;
  for (const auto& [id, stream] : streams_) {
    if (stream.events != nullptr) stream.events->Watch(descriptors);
  }
}

bool EventConnection::Receive() {
  // While answers wait to be sent, requests are not received. So only the connection's end leads
  // here.
  if (blocked()) return false;
  const size_t had = received_.size();
  received_.resize(had + kReceiveBytes);
  const ssize_t got = sockets::Receive(fd(), received_.data() + had, kReceiveBytes);
  received_.resize(had + static_cast<size_t>(got > 0 ? got : 0));
  if (got == -EAGAIN) return true;
  if (got <= 0) return false;
  size_t at = 0;
  while (received_.size() - at >= frame::kHeaderBytes) {
    const frame::Header header = frame::Parse(received_.data() + at);
    if (header.length > kMaxRequestBytes) return false;
    const size_t whole = frame::kHeaderBytes + header.length;
    if (received_.size() - at < whole) break;
    const cbor::Reader body(received_.data() + at + frame::kHeaderBytes, header.length);
    if (!Execute(header, body)) return false;
    at += whole;
  }
  received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(at));
  return true;
}

bool EventConnection::Execute(const frame::Header& header, cbor::Reader body) {
  if (header.flags != 0 || header.reserved != 0) return false;
  switch (header.type) {
    case frame::kSubscribe:
      Subscribe(header.id, body);
      return true;
    case frame::kUnsubscribe:
      Unsubscribe(header.id, body);
      return true;
    case frame::kCredit:
      return Credit(body);
    case frame::kWrite:
      Write(header.id, body);
      return true;
    default:
      return false;
  }
}

void EventConnection::Subscribe(uint32_t id, cbor::Reader body) {
  uint64_t stream_id = 0;
  uint64_t kind = 0;
  uint64_t count = 0;
  uint64_t size = 0;
  uint64_t batch_us = 0;
  StreamTerms terms;
  if (!body.ReadArrayOf(7) || !body.ReadUint(UINT32_MAX, &stream_id) || stream_id == 0 ||
      !body.ReadUint(kUserRing, &kind) || !body.ReadArray(&count) || count == 0) {
    return Malformed(
        id, "SUBSCRIBE is not [stream, source, [handle...], size, batchBytes, batchUs, window]");
  }
  if (streams_.count(static_cast<uint32_t>(stream_id)) != 0) {
    return Malformed(id, "stream " + std::to_string(stream_id) + " is there already");
  }
  const uint64_t max_streams = context_->limits->max_streams;
  if (count > kMaxDescriptors) {
    return Fail(id, "ERR_STREAM_LIMIT", "maximum", kMaxDescriptors, "descriptors of streams");
  }
  Subscription subscription;
  subscription.kind = kind;
  std::vector<unique_fd> descriptors;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t handle = 0;
    SharedCopy copy;
    if (!body.ReadUint(UINT32_MAX, &handle)) return Malformed(id, "a handle is not a number");
    const int error =
        context_->handles->Duplicate(static_cast<uint32_t>(handle), context_->first_fd, &copy);
    if (error == -ENOENT) return Fail(id, "ERR_HANDLE_UNKNOWN", "handle", handle);
    // Rules cannot judge the number of a copy, so foreign objects have no copies.
    if (error == -EPERM) return RefuseForeign(id, handle);
    if (error < 0) return Answer(id, -1, -error);
    descriptors.push_back(std::move(copy.fd));
    subscription.serials.push_back(copy.serial);
    subscription.in_use.push_back(std::move(copy.in_use));
  }
  if (!body.ReadUint(UINT32_MAX, &size) || !body.ReadUint(UINT32_MAX, &terms.batch_bytes) ||
      !body.ReadUint(60'000'000, &batch_us) || !body.ReadUint(UINT32_MAX, &terms.window_bytes) ||
      !body.AtEnd() || terms.batch_bytes == 0 || terms.window_bytes == 0) {
    return Malformed(id, "SUBSCRIBE has a bad size, batch or window");
  }
  terms.batch_ns = static_cast<int64_t>(batch_us) * 1000;
  terms.batch_bytes = std::min(terms.batch_bytes, kMaxBatchBytes);
  terms.window_bytes = std::min(terms.window_bytes, kMaxWindowBytes);
  const auto stream = static_cast<uint32_t>(stream_id);
  // Each part has its pages, and one with the positions of reading and writing.
  const uint64_t ring_bytes = kind == kPerf ? (size + 1) * kPageBytes * count : 0;
  bool resumed = Resume(stream, terms, &subscription);
  if (!resumed) {
    // Subscriptions of lost connections must not stand in the way of new ones.
    while (!context_->parked.empty() &&
           (context_->subscriptions >= max_streams ||
            count > kMaxDescriptors - context_->descriptors || !context_->HasRoom(ring_bytes))) {
      context_->DropParked();
    }
    if (context_->subscriptions >= max_streams) {
      return Fail(id, "ERR_STREAM_LIMIT", "maximum", max_streams, "streams");
    }
    if (count > kMaxDescriptors - context_->descriptors) {
      return Fail(id, "ERR_STREAM_LIMIT", "maximum", kMaxDescriptors, "descriptors of streams");
    }
    if (!context_->HasRoom(ring_bytes)) {
      return Fail(id, "ERR_STREAM_LIMIT", "maximum", context_->limits->max_ring_bytes,
                  "bytes of perf buffers");
    }
    subscription.ring_bytes = ring_bytes;
    const int error = OpenSource(stream, std::move(descriptors), size, terms, &subscription);
    if (error != 0) return Answer(id, -1, -error);
    resumed = RestoreCounts(&subscription);
    ++context_->subscriptions;
    context_->descriptors += count;
    context_->ring_bytes += ring_bytes;
  }
  streams_.emplace(stream, std::move(subscription));
  Answer(id, resumed ? 1 : 0, 0);
}

bool EventConnection::Resume(uint32_t id, const StreamTerms& terms, Subscription* subscription) {
  const auto found = std::find_if(
      context_->parked.begin(), context_->parked.end(), [&](const Subscription& parked) {
        return parked.kind == subscription->kind && parked.serials == subscription->serials;
      });
  if (found == context_->parked.end()) return false;
  *subscription = std::move(*found);
  context_->parked.erase(found);
  if (subscription->events != nullptr) subscription->events->Resume(id, terms);
  return true;
}

bool EventConnection::RestoreCounts(Subscription* subscription) {
  const auto found =
      std::find_if(context_->remains.begin(), context_->remains.end(), [&](const Remains& each) {
        return each.kind == subscription->kind && each.serials == subscription->serials;
      });
  if (found == context_->remains.end()) return false;
  subscription->events->Continue(found->counts);
  context_->remains.erase(found);
  return true;
}

int EventConnection::OpenSource(uint32_t id, std::vector<unique_fd> descriptors, uint64_t size,
                                const StreamTerms& terms, Subscription* subscription) {
  const uint64_t kind = subscription->kind;
  if (kind != kPerf && descriptors.size() != 1) return -EINVAL;
  AddressArena* const arena = &context_->arena;
  std::unique_ptr<EventSource> source;
  int error = 0;
  if (kind == kRing) {
    auto ring = std::make_unique<RingSource>();
    error = ring->Open(arena, std::move(descriptors.front()), size);
    source = std::move(ring);
  } else if (kind == kPerf) {
    auto perf = std::make_unique<PerfSource>();
    error = perf->Open(arena, std::move(descriptors), size);
    source = std::move(perf);
  } else if (kind == kFile) {
    auto file = std::make_unique<FileSource>();
    error = file->Open(arena, std::move(descriptors.front()), terms.batch_bytes);
    source = std::move(file);
  } else {
    subscription->ring = std::make_unique<UserRing>();
    return subscription->ring->Open(arena, std::move(descriptors.front()), size);
  }
  if (error == 0) {
    subscription->events = std::make_unique<EventStream>(id, std::move(source), terms);
  }
  return error;
}

void EventConnection::Unsubscribe(uint32_t id, cbor::Reader body) {
  uint64_t stream_id = 0;
  if (!body.ReadArrayOf(1) || !body.ReadUint(UINT32_MAX, &stream_id) || !body.AtEnd()) {
    return Malformed(id, "UNSUBSCRIBE is not [stream]");
  }
  const auto found = streams_.find(static_cast<uint32_t>(stream_id));
  if (found == streams_.end()) return Fail(id, "ERR_STREAM_UNKNOWN", "stream", stream_id);
  if (EventStream* const events = found->second.events.get(); events != nullptr) {
    for (size_t part = 0; part < events->parts(); ++part) {
      EventStream::Batch batch;
      events->Counts(part, true, &batch);
      PutCounts(events->id(), batch, &answers_);
    }
  }
  context_->Drop(found->second);
  streams_.erase(found);
  Answer(id, 0, 0);
}

bool EventConnection::Credit(cbor::Reader body) {
  uint64_t stream_id = 0;
  uint64_t bytes = 0;
  if (!body.ReadArrayOf(2) || !body.ReadUint(UINT32_MAX, &stream_id) || !body.ReadUint(&bytes) ||
      !body.AtEnd()) {
    return false;
  }
  // The stream may have just ended, so credit for an unknown stream is no error.
  const auto found = streams_.find(static_cast<uint32_t>(stream_id));
  if (found != streams_.end() && found->second.events != nullptr) {
    found->second.events->Credit(bytes);
  }
  return true;
}

void EventConnection::Write(uint32_t id, cbor::Reader body) {
  uint64_t stream_id = 0;
  uint64_t count = 0;
  if (!body.ReadArrayOf(2) || !body.ReadUint(UINT32_MAX, &stream_id) || !body.ReadArray(&count) ||
      count > kMaxWrites) {
    return Malformed(id, "WRITE is not [stream, [bytes...]] with 4096 records or fewer");
  }
  const auto found = streams_.find(static_cast<uint32_t>(stream_id));
  if (found == streams_.end() || found->second.ring == nullptr) {
    return Fail(id, "ERR_STREAM_UNKNOWN", "stream", stream_id);
  }
  long written = 0;
  int error = 0;
  for (uint64_t i = 0; i < count && error == 0; ++i) {
    cbor::Bytes record;
    if (!body.ReadBytes(&record)) return Malformed(id, "a record is not a byte string");
    error = -found->second.ring->Write(record.data, record.size);
    if (error == 0) ++written;
  }
  // If some records fit, the answer is their number. The others are then no error.
  Answer(id, written > 0 || count == 0 ? written : -1, written > 0 ? 0 : error);
}

void EventConnection::Answer(uint32_t id, long result, int error) {
  Put(frame::kResult, id, [&](cbor::Writer* body) {
    body->Head(cbor::kArray, 3);
    body->Int(result);
    body->Head(cbor::kUint, static_cast<uint64_t>(error));
    body->Head(cbor::kArray, 0);
  });
}

void EventConnection::Fail(uint32_t id, const char* code, const char* key, uint64_t number,
                           const char* what) {
  Put(frame::kError, id, [&](cbor::Writer* body) {
    body->Head(cbor::kArray, 2);
    body->Text(code);
    body->Head(cbor::kMap, what == nullptr ? 1 : 2);
    body->Text(key);
    body->Head(cbor::kUint, number);
    if (what == nullptr) return;
    body->Text("what");
    body->Text(what);
  });
}

void EventConnection::RefuseForeign(uint32_t id, uint64_t handle) {
  Put(frame::kError, id, [&](cbor::Writer* body) {
    body->Head(cbor::kArray, 2);
    body->Text("ERR_POLICY_REFUSED");
    body->Head(cbor::kMap, 3);
    body->Text("rule");
    body->Text("foreign_objects");
    body->Text("value");
    body->Text("handle " + std::to_string(handle) + ", an object of others, to be streamed from");
    body->Text("command");
    body->Text("subscribe");
  });
}

void EventConnection::Malformed(uint32_t id, const std::string& why) {
  Put(frame::kError, id, [&](cbor::Writer* body) {
    body->Head(cbor::kArray, 2);
    body->Text("ERR_CALL_MALFORMED");
    body->Head(cbor::kMap, 1);
    body->Text("why");
    body->Text(why);
  });
}

template <typename Body>
void EventConnection::Put(uint8_t type, uint32_t id, Body body) {
  const size_t start = answers_.size();
  answers_.resize(start + frame::kHeaderBytes);
  cbor::Writer writer(&answers_);
  body(&writer);
  const size_t length = answers_.size() - start - frame::kHeaderBytes;
  frame::Put(answers_.data() + start, static_cast<uint32_t>(length), type, id);
}

void EventConnection::PutCounts(uint32_t id, const EventStream::Batch& batch,
                                std::vector<uint8_t>* out) {
  const size_t start = out->size();
  out->resize(start + frame::kHeaderBytes);
  cbor::Writer writer(out);
  writer.Head(cbor::kArray, 10);
  for (const uint64_t count : std::initializer_list<uint64_t>{
           uint64_t{batch.part}, batch.offer.records, batch.sequence, batch.position, batch.written,
           batch.lost, batch.dropped, static_cast<uint64_t>(MonotonicNs()),
           batch.ended ? 1 + static_cast<uint64_t>(-batch.error) : 0}) {
    writer.Head(cbor::kUint, count);
  }
  writer.Head(cbor::kBytes, batch.offer.bytes);
  const size_t length = out->size() - start - frame::kHeaderBytes + batch.offer.bytes;
  frame::Put(out->data() + start, static_cast<uint32_t>(length), frame::kEvents, id);
}

bool EventConnection::Send(int64_t now_ns) {
  due_ns_ = kNever;
  if (blocked() && !SendRest(now_ns)) return false;
  for (int turn = 0; !blocked(); ++turn) {
    if (!answers_.empty()) {
      sending_.swap(answers_);
      answers_.clear();
      rest_.assign(1, {sending_.data(), sending_.size()});
      if (!SendRest(now_ns)) return false;
      continue;
    }
    if (turn >= kTurn) {
      due_ns_ = now_ns;
      break;
    }
    // Streams take turns with one batch each, beginning after the stream that was served last.
    bool found = false;
    auto at = streams_.upper_bound(last_served_);
    for (size_t i = 0; i < streams_.size() && !found; ++i, ++at) {
      if (at == streams_.end()) at = streams_.begin();
      EventStream* const events = at->second.events.get();
      if (events == nullptr) continue;
      batch_ = {};
      if (!events->Next(now_ns, &context_->quota, &due_ns_, &batch_)) continue;
      last_served_ = at->first;
      found = true;
      if (!SendBatch(events, batch_, now_ns)) return false;
    }
    if (!found) break;
  }
  if (streams_.empty() || blocked()) return true;
  if (now_ns - told_ns_ >= kCountsNs) {
    told_ns_ = now_ns;
    for (auto& [id, stream] : streams_) {
      for (size_t part = 0; stream.events != nullptr && part < stream.events->parts(); ++part) {
        EventStream::Batch batch;
        if (!stream.events->Counts(part, false, &batch)) continue;
        PutCounts(id, batch, &answers_);
        stream.events->Sent(batch, now_ns);
      }
    }
    if (!answers_.empty()) due_ns_ = now_ns;
  }
  due_ns_ = std::min(due_ns_, told_ns_ + kCountsNs);
  return true;
}

bool EventConnection::SendBatch(EventStream* stream, const EventStream::Batch& batch,
                                int64_t now_ns) {
  sending_.clear();
  PutCounts(stream->id(), batch, &sending_);
  rest_.assign(1, {sending_.data(), sending_.size()});
  for (const iovec& piece : batch.offer.pieces) {
    if (piece.iov_len > 0) rest_.push_back(piece);
  }
  sending_stream_ = stream;
  return SendRest(now_ns);
}

bool EventConnection::SendRest(int64_t now_ns) {
  size_t done = 0;
  while (done < rest_.size()) {
    ssize_t sent = sockets::Send(fd(), rest_.data() + done, rest_.size() - done);
    if (sent == -EAGAIN) {
      rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(done));
      return true;
    }
    if (sent < 0) return false;
    while (done < rest_.size() && static_cast<size_t>(sent) >= rest_[done].iov_len) {
      sent -= static_cast<ssize_t>(rest_[done++].iov_len);
    }
    if (done == rest_.size()) break;
    rest_[done].iov_base = static_cast<uint8_t*>(rest_[done].iov_base) + sent;
    rest_[done].iov_len -= static_cast<size_t>(sent);
  }
  rest_.clear();
  if (sending_stream_ != nullptr) sending_stream_->Sent(batch_, now_ns);
  sending_stream_ = nullptr;
  return true;
}

}  // namespace waep
