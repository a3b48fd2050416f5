// SPDX-License-Identifier: MIT
#include "event_source.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

namespace waep {
namespace {

constexpr uint64_t kPage = 4096;
// The kernel's maximum, RINGBUF_MAX_DATA_SZ, is larger; the arena is not.
constexpr uint64_t kMaxRingBytes = uint64_t{1} << 30;

bool IsRingSize(uint64_t size) {
  return size >= kPage && size <= kMaxRingBytes && (size & (size - 1)) == 0;
}

uint64_t LoadAcquire(const void* word) {
  return __atomic_load_n(static_cast<const uint64_t*>(word), __ATOMIC_ACQUIRE);
}

void StoreRelease(void* word, uint64_t value) {
  __atomic_store_n(static_cast<uint64_t*>(word), value, __ATOMIC_RELEASE);
}

// Records of both kinds of buffers begin at multiples of this.
constexpr uint64_t kRecordAlignment = 8;

constexpr uint64_t RoundUp8(uint64_t size) { return (size + 7) & ~uint64_t{7}; }

// Both kinds of ring map: the consumer's page, the producer's, and the data twice in a row, so that
// no record is ever in two pieces.
constexpr uint64_t kConsumer = 0;
constexpr uint64_t kProducer = kPage;
constexpr uint64_t kData = 2 * kPage;

int MapRing(AddressArena* arena, Mapping* mapping, int fd, uint64_t size, int consumer_protection,
            int producer_protection) {
  int error = mapping->Take(arena, kData + 2 * size);
  if (error == 0) error = mapping->Map(kConsumer, kPage, consumer_protection, fd, 0);
  if (error == 0) {
    error = mapping->Map(kProducer, kPage + 2 * size, producer_protection, fd, kPage);
  }
  return error;
}

}  // namespace

int RingSource::Open(AddressArena* arena, unique_fd map, uint64_t size) {
  if (!IsRingSize(size)) return -EINVAL;
  map_ = std::move(map);
  size_ = size;
  const int error = MapRing(arena, &mapping_, map_.get(), size, PROT_READ | PROT_WRITE, PROT_READ);
  if (error != 0) return error;
  position_ = LoadAcquire(mapping_.data() + kConsumer);
  // Other maps than rings can be mapped as well, with any contents.
  return position_ % kRecordAlignment == 0 ? 0 : -EINVAL;
}

uint64_t RingSource::written(size_t) const { return LoadAcquire(mapping_.data() + kProducer); }

int RingSource::Peek(size_t, size_t max_bytes, uint64_t max_records, Offer* offer) {
  const uint64_t end = written(0);
  // More than the buffer's size: the client gave a wrong size, or there is another reader. Memory
  // behind the mapping must not be read.
  if (end - position_ > size_) return -EPROTO;
  const uint8_t* const data = mapping_.data() + kData;
  const uint64_t start = position_ & (size_ - 1);
  uint64_t at = position_;
  while (at < end) {
    const uint8_t* const record = data + (at & (size_ - 1));
    const auto header =
        __atomic_load_n(reinterpret_cast<const uint32_t*>(record), __ATOMIC_ACQUIRE);
    if ((header & kBusy) != 0) {
      offer->busy = true;
      break;
    }
    const uint64_t total = RoundUp8((header & ~kDiscarded) + kHeaderBytes);
    // The kernel writes no such record. It appears if the size of the mapping is not that of the
    // map.
    if (total > end - at || total > size_) return -EPROTO;
    const uint64_t taken = at - position_;
    if (taken > 0 && taken + total > max_bytes) break;
    const bool counts = (header & kDiscarded) == 0;
    if (counts && offer->records == max_records) break;
    if (counts) ++offer->records;
    at += total;
  }
  offer->bytes = at - position_;
  offer->pieces[0] = {const_cast<uint8_t*>(data + start), offer->bytes};
  return 0;
}

void RingSource::Take(size_t, const Offer& offer) {
  position_ += offer.bytes;
  StoreRelease(mapping_.data() + kConsumer, position_);
}

int PerfSource::Open(AddressArena* arena, std::vector<unique_fd> events, uint64_t pages) {
  size_ = pages * kPage;
  if (pages > kMaxRingBytes / kPage || !IsRingSize(size_)) return -EINVAL;
  for (unique_fd& event : events) {
    auto buffer = std::make_unique<Buffer>();
    buffer->event = std::move(event);
    int error = buffer->mapping.Take(arena, kPage + size_);
    if (error == 0) {
      error = buffer->mapping.Map(0, kPage + size_, PROT_READ | PROT_WRITE, buffer->event.get(), 0);
    }
    if (error != 0) return error;
    buffer->position =
        LoadAcquire(buffer->mapping.data() + offsetof(perf_event_mmap_page, data_tail));
    // Unaligned headers could lie partly behind the buffer.
    if (buffer->position % kRecordAlignment != 0) return -EINVAL;
    buffers_.push_back(std::move(buffer));
  }
  return 0;
}

uint64_t PerfSource::written(size_t part) const {
  return LoadAcquire(buffers_[part]->mapping.data() + offsetof(perf_event_mmap_page, data_head));
}

const uint8_t* PerfSource::At(const Buffer& buffer, uint64_t position) const {
  return buffer.mapping.data() + kPage + (position & (size_ - 1));
}

int PerfSource::Peek(size_t part, size_t max_bytes, uint64_t max_records, Offer* offer) {
  const Buffer& buffer = *buffers_[part];
  const uint64_t start = buffer.position;
  const uint64_t end = written(part);
  // This happens for an event that is written backwards, whose head decreases.
  if (end - start > size_) return -EPROTO;
  uint64_t at = start;
  while (at < end) {
    // Records are multiples of 8 bytes, so headers do not wrap. The data after them may.
    perf_event_header header;
    std::memcpy(&header, At(buffer, at), sizeof header);
    if (header.size < sizeof header || header.size % 8 != 0 || header.size > end - at) {
      return -EPROTO;
    }
    if (at > start && at - start + header.size > max_bytes) break;
    const bool counts = header.type == PERF_RECORD_SAMPLE;
    if (counts && offer->records == max_records) break;
    if (counts) ++offer->records;
    if (header.type == PERF_RECORD_LOST && header.size >= 24) {
      uint64_t lost;
      std::memcpy(&lost, At(buffer, at + 16), sizeof lost);
      offer->lost += lost;
    }
    at += header.size;
  }
  offer->bytes = at - start;
  const uint64_t until_wrap = size_ - (start & (size_ - 1));
  const uint64_t first = offer->bytes < until_wrap ? offer->bytes : until_wrap;
  offer->pieces[0] = {const_cast<uint8_t*>(At(buffer, start)), first};
  offer->pieces[1] = {const_cast<uint8_t*>(At(buffer, start + first)), offer->bytes - first};
  return 0;
}

void PerfSource::Take(size_t part, const Offer& offer) {
  Buffer& buffer = *buffers_[part];
  buffer.position += offer.bytes;
  StoreRelease(buffer.mapping.data() + offsetof(perf_event_mmap_page, data_tail), buffer.position);
}

int FileSource::Open(AddressArena* arena, unique_fd file, size_t buffer_bytes) {
  file_ = std::move(file);
  buffer_bytes_ = (buffer_bytes + kPage - 1) & ~(kPage - 1);
  const int error = buffer_.Take(arena, buffer_bytes_);
  if (error != 0) return error;
  return buffer_.Map(0, buffer_bytes_, PROT_READ | PROT_WRITE, -1, 0);
}

int FileSource::Peek(size_t, size_t max_bytes, uint64_t, Offer* offer) {
  const size_t room = max_bytes < buffer_bytes_ ? max_bytes : buffer_bytes_;
  // One read of a kernel file returns a page or a line.
  while (!ended_ && have_ < room) {
    const ssize_t got = ::read(file_.get(), buffer_.data() + have_, room - have_);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got < 0) {
      if (have_ == 0) return -errno;
      break;  // the next read returns the error again
    }
    if (got == 0) ended_ = true;
    have_ += static_cast<size_t>(got);
  }
  offer->bytes = have_;
  offer->records = have_ > 0 ? 1 : 0;
  offer->end = ended_ && have_ == 0;
  offer->pieces[0] = {buffer_.data(), have_};
  return 0;
}

void FileSource::Take(size_t, const Offer& offer) {
  position_ += offer.bytes;
  have_ = 0;
}

int UserRing::Open(AddressArena* arena, unique_fd map, uint64_t size) {
  if (!IsRingSize(size)) return -EINVAL;
  map_ = std::move(map);
  size_ = size;
  return MapRing(arena, &mapping_, map_.get(), size, PROT_READ, PROT_READ | PROT_WRITE);
}

int UserRing::Write(const uint8_t* data, size_t size) {
  const uint64_t total = RoundUp8(size + RingSource::kHeaderBytes);
  if (total > size_) return -E2BIG;
  const uint64_t consumed = LoadAcquire(mapping_.data() + kConsumer);
  const uint64_t written = LoadAcquire(mapping_.data() + kProducer);
  if (total > size_ - (written - consumed)) return -ENOSPC;
  uint8_t* const record = mapping_.data() + kData + (written & (size_ - 1));
  const uint64_t header = size;
  std::memcpy(record, &header, sizeof header);
  if (size > 0) std::memcpy(record + sizeof header, data, size);
  StoreRelease(mapping_.data() + kProducer, written + total);
  return 0;
}

}  // namespace waep
