// SPDX-License-Identifier: MIT
//
// Fuzzes what a client can reach by a connection for events: requests about streams, and the
// buffers that these read and write. A client can choose the buffers' contents as well, because any
// map that can be mapped may be used as a ring.
//
// An input is a byte of options, a 16-bit length with the contents of the buffers, and then what
// the client sends. Buffers are memory files that are large enough for any size that a client
// claims. A real kernel refuses to map more than there is.

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "executor/event_connection.h"
#include "expect.h"
#include "sockets.h"

namespace {

using waep::EventConnection;
using waep::EventContext;
using waep::unique_fd;
namespace cbor = waep::cbor;
namespace frame = waep::frame;

constexpr size_t kPage = 4096;
constexpr off_t kBufferBytes = off_t{3} << 30;
// Each piece and each round costs a few system calls and a buffer to receive into.
constexpr size_t kMostPieces = 4;
constexpr int kRounds = 2;
constexpr int64_t kRoundNs = 1'000'000;
constexpr uint64_t kMaxStreams = 4;

// Bits of the options. The high four choose the size of the pieces in which frames arrive.
enum Options : uint8_t { kNeverReads = 1, kSmallSocket = 2, kReconnects = 4, kPieceShift = 4 };

// The objects behind the client's handles.
enum Handle : uint32_t { kRing = 1, kPerf = 2, kUserRing = 3, kFile = 4 };

using Bytes = std::vector<uint8_t>;

uint64_t Take64(const uint8_t** data, size_t* size) {
  uint64_t word = 0;
  const size_t length = std::min<size_t>(*size, 8);
  std::memcpy(&word, *data, length);
  *data += length;
  *size -= length;
  return word;
}

void Put(int fd, off_t offset, const void* bytes, size_t size) {
  Expect(::pwrite(fd, bytes, size, offset) == static_cast<ssize_t>(size), "nothing is written");
}

unique_fd Buffer() {
  unique_fd fd(::memfd_create("buffer", MFD_CLOEXEC));
  Expect(fd.valid() && ::ftruncate(fd.get(), kBufferBytes) == 0, "there is no memory file");
  return fd;
}

// Returns a ring with one page of data, which appears twice in a row as the kernel maps it.
unique_fd Ring(uint64_t consumer, uint64_t producer, const uint8_t* data, size_t size) {
  unique_fd fd = Buffer();
  Put(fd.get(), 0, &consumer, sizeof consumer);
  Put(fd.get(), kPage, &producer, sizeof producer);
  const auto at = static_cast<off_t>(consumer % kPage);
  for (const off_t copy : {off_t{2} * kPage, off_t{3} * kPage}) {
    Put(fd.get(), copy + at, data, std::min<size_t>(size, kPage));
  }
  return fd;
}

unique_fd Perf(uint64_t tail, uint64_t head, const uint8_t* data, size_t size) {
  unique_fd fd = Buffer();
  Put(fd.get(), offsetof(perf_event_mmap_page, data_tail), &tail, sizeof tail);
  Put(fd.get(), offsetof(perf_event_mmap_page, data_head), &head, sizeof head);
  Put(fd.get(), static_cast<off_t>(kPage + tail % kPage), data, size);
  return fd;
}

// Returns a file as a session opens it: for reading only, so that it cannot be used as a buffer.
unique_fd File(const uint8_t* data, size_t size) {
  const unique_fd fd(::memfd_create("file", MFD_CLOEXEC));
  Expect(fd.valid(), "there is no memory file");
  Put(fd.get(), 0, data, size);
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd.get());
  unique_fd opened(::open(path, O_RDONLY | O_CLOEXEC));
  Expect(opened.valid(), "the memory file cannot be opened");
  return opened;
}

// Reads the guest's bytes, which must be whole frames of known kinds.
class Listener {
 public:
  explicit Listener(int fd) : fd_(fd) {}

  void Read() {
    uint8_t piece[64 * 1024];
    ssize_t got;
    while ((got = ::recv(fd_, piece, sizeof piece, MSG_DONTWAIT)) > 0) {
      received_.insert(received_.end(), piece, piece + got);
    }
    size_t at = 0;
    while (received_.size() - at >= frame::kHeaderBytes) {
      const frame::Header header = frame::Parse(received_.data() + at);
      Expect(header.flags == 0 && header.reserved == 0, "a frame has flags");
      const size_t whole = frame::kHeaderBytes + header.length;
      if (received_.size() - at < whole) break;
      Hears(header, received_.data() + at + frame::kHeaderBytes);
      at += whole;
    }
    received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(at));
  }

 private:
  static void Hears(const frame::Header& header, const uint8_t* data) {
    cbor::Reader body(data, header.length);
    uint64_t count = 0;
    if (header.type == frame::kEvents) {
      uint64_t words[9];
      Expect(body.ReadArrayOf(10), "EVENTS is no array of 10");
      for (uint64_t& word : words) Expect(body.ReadUint(&word), "EVENTS has no number");
      cbor::Bytes bytes;
      Expect(body.ReadBytes(&bytes) && body.AtEnd(), "EVENTS ends in something else");
      Expect(words[1] <= bytes.size, "there are more records than bytes");
      Expect(bytes.size == 0 || words[8] == 0, "there are records behind the end");
    } else if (header.type == frame::kResult) {
      int32_t result = 0;
      Expect(body.ReadArrayOf(3) && body.ReadInt(&result) && body.ReadUint(4095, &count),
             "a result is none");
      Expect((result < 0) == (count != 0), "result and errno contradict each other");
      Expect(body.ReadArrayOf(0) && body.AtEnd(), "a result has outputs");
    } else {
      Expect(header.type == frame::kError, "a frame is of no kind");
      std::string_view code;
      Expect(body.ReadArrayOf(2) && body.ReadText(&code) && code.substr(0, 4) == "ERR_",
             "an error has no code");
    }
  }

  int fd_;
  Bytes received_;
};

// A client's connection, and the guest's end of it.
class Conversation {
 public:
  Conversation(EventContext* context, uint8_t options) : options_(options) {
    int pair[2];
    Expect(waep::sockets::SocketPair(pair) == 0, "there is no socket");
    client_.reset(pair[0]);
    for (const int fd : pair) waep::sockets::SetNonBlocking(fd, true);
    if ((options & kSmallSocket) != 0) {
      const int small = 1;
      ::setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    }
    listener_ = std::make_unique<Listener>(pair[0]);
    guest_ = std::make_unique<EventConnection>(context, unique_fd(pair[1]));
  }

  // Sends the bytes in pieces, and lets the guest work in between.
  void Say(const uint8_t* data, size_t size) {
    const size_t piece =
        std::max((options_ >> kPieceShift) * size_t{8} + 1, size / kMostPieces + 1);
    while (size > 0 && guest_ != nullptr) {
      const ssize_t sent = ::send(client_.get(), data, std::min(size, piece), MSG_NOSIGNAL);
      // A guest whose answers are not read takes no requests either.
      if (sent <= 0) break;
      data += sent;
      size -= static_cast<size_t>(sent);
      Work();
    }
    for (int round = 0; round < kRounds && guest_ != nullptr; ++round) Work();
  }

  void HangUp() {
    listener_->Read();
    guest_.reset();
  }

 private:
  void Work() {
    now_ns_ += kRoundNs;
    if ((guest_->receives() && !guest_->Receive()) || !guest_->Send(now_ns_)) guest_.reset();
    if ((options_ & kNeverReads) == 0) listener_->Read();
  }

  uint8_t options_;
  int64_t now_ns_ = 1'000'000'000;
  unique_fd client_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<EventConnection> guest_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const uint8_t options = data[0];
  size_t held = std::min<size_t>(size - 3, data[1] | data[2] << 8);
  held = std::min(held, kPage);
  data += 3;
  size -= 3;
  const uint8_t* contents = data;
  size_t left = held;
  const uint64_t consumer = Take64(&contents, &left);
  const uint64_t producer = Take64(&contents, &left);
  const unique_fd files[] = {Ring(consumer, producer, contents, left),
                             Perf(consumer, producer, contents, left),
                             Ring(consumer, producer, contents, left), File(contents, left)};
  waep::SharedHandles handles;
  for (uint32_t handle = kRing; handle <= kFile; ++handle) {
    handles.Bound(handle, files[handle - 1].get(), false);
  }
  constexpr uint32_t kForeign = kFile + 1;
  handles.Bound(kForeign, files[kFile - 1].get(), true);
  waep::Limits limits;
  limits.max_streams = kMaxStreams;
  limits.max_events_per_second = consumer % 3 == 0 ? 0 : 100;
  const int first_free = ::fcntl(files[0].get(), F_DUPFD_CLOEXEC, 3);
  ::close(first_free);
  {
    EventContext context;
    context.handles = &handles;
    context.limits = &limits;
    context.first_fd = 3;
    context.quota = waep::RateQuota(limits.max_events_per_second);
    Expect(context.arena.Reserve() == 0, "memory cannot be reserved");
    data += held;
    size -= held;
    Conversation first(&context, options);
    first.Say(data, size);
    first.HangUp();
    if ((options & kReconnects) != 0) {
      Conversation second(&context, options);
      second.Say(data, size);
      second.HangUp();
    }
    Expect(handles.Closing(kForeign).use_count() == 1, "there is a copy of an object of others");
    Expect(context.subscriptions <= kMaxStreams, "there are more streams than may be");
    Expect(context.subscriptions == context.parked.size(), "streams are miscounted");
    Expect(context.descriptors <= EventConnection::kMaxDescriptors, "too many descriptors");
  }
  const int still_free = ::fcntl(files[0].get(), F_DUPFD_CLOEXEC, 3);
  ::close(still_free);
  Expect(still_free == first_free, "a descriptor is left");
  return 0;
}
