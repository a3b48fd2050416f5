// SPDX-License-Identifier: MIT
//
// Drivers of virtio-vsock as Linux has had them, against the vsock device: each scenario carries
// bytes until all have arrived. When neither end has anything to do before that, the link stalls:
// only a clock could move it on, and the device's never ticks here. Prints a line for each
// scenario, which begins with "ok" or "stalled". What the drivers do is described in
// vsock_device.h.

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "transport/vsock_device.h"
#include "transport/vsock_packet.h"

extern "C" int __wrap_timerfd_settime(int, int, const itimerspec*, itimerspec*) { return 0; }

namespace {

using waep::unique_fd;
using waep::VsockDevice;
using waep::vsock::Header;

constexpr uint32_t kCid = 3;
constexpr uint32_t kGuestPort = 5000;
constexpr uint32_t kHostPort = 80;
constexpr size_t kMemoryBytes = 32u << 20;
constexpr uint64_t kUserBase = 0x7f0000000000;
constexpr uint16_t kQueueSize = 128;
constexpr uint64_t kRingBytes = 16 * 1024;
constexpr uint64_t kBuffersAt = 4 * kRingBytes;
// A linear buffer of the receive queue, header included.
constexpr size_t kReceiveBytes = 3776;
constexpr size_t kMaxPacketBytes = 64 * 1024;
// A socket's send buffer, of which half may be in use when a sender is woken.
constexpr size_t kSendBufferBytes = 212992;
constexpr size_t kPacketOverheadBytes = 576;

#define CHECK(condition)                                             \
  do {                                                               \
    if (!(condition)) {                                              \
      fprintf(stderr, "wrong, line %d: %s\n", __LINE__, #condition); \
      exit(1);                                                       \
    }                                                                \
  } while (false)

struct Model {
  const char* name;
  size_t part_bytes;    // of a packet's parts
  bool counts_memory;   // what is in transmit buffers, before it wakes a sender
  bool caps_credit;     // by what the socket itself receives
  bool tells_of_end;    // when all has been read, rather than when little is free
  bool bounds_packets;  // in its receive queue, at which it resets the connection
};

constexpr Model kModels[] = {
    {"5.10", kMaxPacketBytes, false, false, false, false},
    {"6.1.176", kMaxPacketBytes, false, true, true, false},
    {"6.7", kMaxPacketBytes, true, false, false, false},
    {"6.12.95", 32 * 1024, true, true, true, true},
};

// A driver's side of one split virtqueue.
class Ring {
 public:
  Ring(uint8_t* memory, uint64_t at) : memory_(memory), at_(at) {
    for (uint16_t i = 0; i < kQueueSize; ++i) free_.push_back(i);
    call.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    kick.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  }

  [[nodiscard]] uint64_t descriptors() const { return at_; }
  [[nodiscard]] uint64_t available() const { return at_ + 4096; }
  [[nodiscard]] uint64_t used() const { return at_ + 8192; }

  struct Part {
    uint64_t address;
    uint32_t bytes;
  };

  // False when there are too few descriptors.
  bool Add(const std::vector<Part>& parts, bool for_device_to_write, uint32_t token) {
    if (free_.size() < parts.size()) return false;
    uint16_t next = 0;
    std::vector<uint16_t> chain;
    for (size_t i = parts.size(); i-- > 0;) {
      const uint16_t index = free_.front();
      free_.pop_front();
      chain.push_back(index);
      uint8_t* const to = memory_ + descriptors() + index * 16u;
      const uint16_t flags =
          static_cast<uint16_t>((i + 1 < parts.size() ? 1 : 0) | (for_device_to_write ? 2 : 0));
      memcpy(to, &parts[i].address, 8);
      memcpy(to + 8, &parts[i].bytes, 4);
      memcpy(to + 12, &flags, 2);
      memcpy(to + 14, &next, 2);
      next = index;
    }
    chains_[next] = std::move(chain);
    tokens_[next] = token;
    memcpy(memory_ + available() + 4 + (available_ % kQueueSize) * 2u, &next, 2);
    ++available_;
    __atomic_store_n(Word(available() + 2), available_, __ATOMIC_SEQ_CST);
    const uint16_t event = __atomic_load_n(Word(used() + 4 + kQueueSize * 8), __ATOMIC_SEQ_CST);
    if (event == static_cast<uint16_t>(available_ - 1)) {
      const uint64_t one = 1;
      CHECK(write(kick.get(), &one, sizeof one) == sizeof one);
    }
    return true;
  }

  // Whether the device has interrupted since the last time.
  bool Interrupted() {
    uint64_t count;
    return read(call.get(), &count, sizeof count) == sizeof count;
  }

  struct Used {
    uint32_t token;
    uint32_t written;
  };
  // What came back; asks to be interrupted when more does.
  std::vector<Used> Take() {
    std::vector<Used> all;
    for (;;) {
      const uint16_t now = __atomic_load_n(Word(used() + 2), __ATOMIC_SEQ_CST);
      while (seen_ != now) {
        uint32_t element[2];
        memcpy(element, memory_ + used() + 4 + (seen_ % kQueueSize) * 8u, sizeof element);
        for (const uint16_t index : chains_[element[0]]) free_.push_back(index);
        all.push_back({tokens_[element[0]], element[1]});
        ++seen_;
      }
      __atomic_store_n(Word(available() + 4 + kQueueSize * 2), seen_, __ATOMIC_SEQ_CST);
      if (__atomic_load_n(Word(used() + 2), __ATOMIC_SEQ_CST) == seen_) return all;
    }
  }

  unique_fd call;
  unique_fd kick;

 private:
  [[nodiscard]] uint16_t* Word(uint64_t at) const {
    return reinterpret_cast<uint16_t*>(memory_ + at);
  }

  uint8_t* const memory_;
  const uint64_t at_;
  std::deque<uint16_t> free_;
  std::vector<uint16_t> chains_[kQueueSize];
  uint32_t tokens_[kQueueSize] = {};
  uint16_t available_ = 0;
  uint16_t seen_ = 0;
};

uint8_t Pattern(uint64_t position) { return static_cast<uint8_t>(position * 7 + position / 251); }

// One guest with one socket.
class Guest {
 public:
  Guest(const Model& model, uint32_t socket_bytes, uint32_t device_bytes)
      : model_(model), socket_bytes_(socket_bytes) {
    memory_fd_.reset(memfd_create("guest", MFD_CLOEXEC));
    CHECK(ftruncate(memory_fd_.get(), kMemoryBytes) == 0);
    void* const map =
        mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd_.get(), 0);
    CHECK(map != MAP_FAILED);
    memory_ = static_cast<uint8_t*>(map);
    receive_ = std::make_unique<Ring>(memory_, 0);
    transmit_ = std::make_unique<Ring>(memory_, kRingBytes);
    for (uint32_t i = 0; i < kQueueSize; ++i) buffers_.push_back(i);

    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    vmm_.reset(pair[0]);
    waep::VsockDeviceOptions options;
    options.guest_cid = kCid;
    options.buffer_bytes = device_bytes;
    int error = 0;
    device = VsockDevice::Adopt(unique_fd(pair[1]), options,
                                {[this](int id, int events) { on_ready(id, events); }, [](bool) {}},
                                &error);
    CHECK(device != nullptr);
    SetUp();
    for (uint32_t i = 0; i < kQueueSize; ++i) Offer(i);
  }
  ~Guest() {
    device.reset();
    munmap(memory_, kMemoryBytes);
  }

  // Connects to the host's listener.
  void Connect() {
    Control(waep::vsock::kRequest);
    RunUntilIdle();
    CHECK(connected);
  }

  // Lets both ends do what they can, until there is nothing to do before time has passed.
  void RunUntilIdle() {
    for (bool busy = true; busy;) {
      busy = Work();
      while (device->Wait(0)) {
        device->Run();
        busy = true;
      }
    }
  }

  // What the guest's program is about: bytes to send, in messages of this size.
  uint64_t to_send = 0;
  size_t message_bytes = kMaxPacketBytes;
  // Whether it reads what comes, and how much it has.
  bool reads = true;
  // Whether it keeps its receive buffers for itself, once they have been used.
  bool keeps = false;
  uint64_t got = 0;
  bool right = true;
  bool connected = false;
  bool reset = false;
  std::function<void(int, int)> on_ready;
  std::unique_ptr<VsockDevice> device;

  [[nodiscard]] bool asleep() const { return asleep_; }
  [[nodiscard]] uint64_t sent() const { return sent_; }

  // Offers a receive buffer that was kept.
  void OfferOne() {
    CHECK(!kept_.empty());
    Offer(kept_.front());
    kept_.pop_front();
  }

  // The program takes what has come, and the driver tells as Linux does.
  void Read() {
    if (unread_.empty()) return;
    for (const std::vector<uint8_t>& packet : unread_) {
      for (const uint8_t byte : packet) right = right && byte == Pattern(got++);
    }
    unread_.clear();
    taken_ = got;
    const uint64_t untold = taken_ - told_;
    const bool little_free = socket_bytes_ - std::min<uint64_t>(untold, socket_bytes_) < 64 * 1024;
    if (model_.tells_of_end || little_free) Control(waep::vsock::kCreditUpdate);
  }

 private:
  void Message(uint32_t request, const void* body, uint32_t size, int fd = -1) {
    uint8_t bytes[12 + 256];
    const uint32_t header[3] = {request, 1, size};
    memcpy(bytes, header, sizeof header);
    memcpy(bytes + sizeof header, body, size);
    iovec part = {bytes, sizeof header + size};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))];
    if (fd >= 0) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* const rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int));
      memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    CHECK(sendmsg(vmm_.get(), &message, 0) == static_cast<ssize_t>(part.iov_len));
    device->Run();
  }

  // As QEMU does.
  void SetUp() {
    const uint64_t features = 1ull << 32 | 1ull << 30 | 1ull << 29;
    Message(2, &features, sizeof features);
    const uint64_t protocol_features = 1ull << 9;
    Message(16, &protocol_features, sizeof protocol_features);
    const uint64_t table[5] = {1, 0, kMemoryBytes, kUserBase, 0};
    Message(5, table, sizeof table, memory_fd_.get());
    const Ring* const rings[] = {receive_.get(), transmit_.get()};
    for (uint32_t queue = 0; queue < 2; ++queue) {
      const Ring& ring = *rings[queue];
      const uint32_t size[2] = {queue, kQueueSize};
      Message(8, size, sizeof size);
      const uint32_t base[2] = {queue, 0};
      Message(10, base, sizeof base);
      const uint64_t addresses[5] = {queue, kUserBase + ring.descriptors(), kUserBase + ring.used(),
                                     kUserBase + ring.available(), 0};
      Message(9, addresses, sizeof addresses);
      const uint64_t index = queue;
      Message(13, &index, sizeof index, ring.call.get());
      Message(12, &index, sizeof index, ring.kick.get());
      const uint32_t enabled[2] = {queue, 1};
      Message(18, enabled, sizeof enabled);
    }
    CHECK(device->running());
  }

  [[nodiscard]] uint64_t ReceiveBuffer(uint32_t token) const { return kBuffersAt + token * 4096u; }
  [[nodiscard]] uint64_t TransmitBuffer(uint32_t token) const {
    return kBuffersAt + kQueueSize * 4096u + token * (kMaxPacketBytes + 4096u);
  }

  void Offer(uint32_t token) {
    CHECK(receive_->Add({{ReceiveBuffer(token), kReceiveBytes}}, true, token));
  }

  void Control(uint16_t operation) {
    Header header;
    header.op = operation;
    pending_.push_back(header);
    Flush();
  }

  bool Transmit(Header header, uint64_t position) {
    if (buffers_.empty()) return false;
    const uint32_t token = buffers_.front();
    const uint64_t at = TransmitBuffer(token);
    std::vector<Ring::Part> parts = {{at, sizeof header}};
    for (size_t done = 0; done < header.len; done += model_.part_bytes) {
      const size_t size = std::min<size_t>(model_.part_bytes, header.len - done);
      parts.push_back({at + sizeof header + done, static_cast<uint32_t>(size)});
    }
    header.src_cid = kCid;
    header.dst_cid = waep::vsock::kHostCid;
    header.src_port = kGuestPort;
    header.dst_port = kHostPort;
    header.type = waep::vsock::kStream;
    header.buf_alloc = socket_bytes_;
    header.fwd_cnt = static_cast<uint32_t>(taken_);
    told_ = taken_;
    memcpy(memory_ + at, &header, sizeof header);
    for (uint32_t i = 0; i < header.len; ++i) {
      memory_[at + sizeof header + i] = Pattern(position + i);
    }
    if (!transmit_->Add(parts, false, token)) return false;
    buffers_.pop_front();
    memory_of_[token] = kPacketOverheadBytes + header.len;
    memory_used_ += memory_of_[token];
    return true;
  }

  // Control packets that found no room go first.
  bool Flush() {
    while (!pending_.empty() && Transmit(pending_.front(), 0)) pending_.pop_front();
    return pending_.empty();
  }

  void Wake() {
    if (!model_.counts_memory || memory_used_ < kSendBufferBytes / 2) asleep_ = false;
  }

  [[nodiscard]] uint64_t Space() const {
    const uint64_t window =
        model_.caps_credit ? std::min(peer_buffer_, socket_bytes_) : peer_buffer_;
    const uint64_t under_way = sent_ - peer_taken_;
    return under_way < window ? window - under_way : 0;
  }

  // Returns whether it did anything.
  bool Work() {
    bool worked = false;
    if (transmit_->Interrupted()) {
      worked = true;
      for (const Ring::Used& used : transmit_->Take()) {
        memory_used_ -= memory_of_[used.token];
        buffers_.push_back(used.token);
      }
      if (model_.counts_memory) Wake();
      Flush();
    }
    if (receive_->Interrupted()) {
      worked = true;
      for (const Ring::Used& used : receive_->Take()) {
        Receive(ReceiveBuffer(used.token), used.written);
        if (keeps) {
          kept_.push_back(used.token);
        } else {
          Offer(used.token);
        }
      }
      if (reads) Read();
    }
    while (connected && !reset && to_send > 0 && !asleep_ && pending_.empty()) {
      const uint64_t space = Space();
      if (space == 0) {
        asleep_ = true;
        break;
      }
      Header header;
      header.op = waep::vsock::kData;
      header.len = static_cast<uint32_t>(std::min({space, to_send, uint64_t{message_bytes}}));
      if (!Transmit(header, sent_)) break;  // until the queue has room again
      sent_ += header.len;
      to_send -= header.len;
      worked = true;
    }
    return worked;
  }

  void Receive(uint64_t at, uint32_t written) {
    Header header;
    CHECK(written >= sizeof header);
    memcpy(&header, memory_ + at, sizeof header);
    peer_buffer_ = header.buf_alloc;
    // A count of 32 bits goes round.
    peer_taken_ += static_cast<uint32_t>(header.fwd_cnt - static_cast<uint32_t>(peer_taken_));
    if (header.op == waep::vsock::kResponse) connected = true;
    if (header.op == waep::vsock::kReset) reset = true;
    if (header.op == waep::vsock::kCreditUpdate) Wake();
    // A driver wakes senders for every packet of their connection.
    if (header.op == waep::vsock::kData) {
      Wake();
      CHECK(header.len == written - sizeof header);
      const uint8_t* const bytes = memory_ + at + sizeof header;
      unread_.emplace_back(bytes, bytes + header.len);
      if (model_.bounds_packets && unread_.size() * kPacketOverheadBytes > socket_bytes_) {
        reset = true;
        Control(waep::vsock::kReset);
      }
    }
    if (header.op == waep::vsock::kCreditRequest) Control(waep::vsock::kCreditUpdate);
  }

  const Model model_;
  const uint32_t socket_bytes_;
  unique_fd memory_fd_;
  uint8_t* memory_ = nullptr;
  unique_fd vmm_;
  std::unique_ptr<Ring> receive_;
  std::unique_ptr<Ring> transmit_;
  std::deque<uint32_t> buffers_;
  size_t memory_of_[kQueueSize] = {};
  size_t memory_used_ = 0;
  std::deque<uint32_t> kept_;
  std::deque<Header> pending_;
  std::deque<std::vector<uint8_t>> unread_;
  bool asleep_ = false;
  uint64_t sent_ = 0;
  uint64_t taken_ = 0;
  uint64_t told_ = 0;
  uint64_t peer_taken_ = 0;
  uint32_t peer_buffer_ = 0;
};

void Say(bool well, const std::string& name, const std::string& what) {
  printf("%s %s%s%s\n", well ? "ok" : "stalled", name.c_str(), what.empty() ? "" : ": ",
         what.c_str());
}

// The host's end: a listener whose one connection is read as it becomes ready.
struct Host {
  explicit Host(Guest& guest) : device(*guest.device) {
    guest.on_ready = [this](int id, int events) { Ready(id, events); };
    listener = device.Listen(kHostPort, 8);
    device.Watch(listener, VsockDevice::kReadable);
    guest.Connect();
    CHECK(stream > 0);
  }

  void Ready(int id, int events) {
    if (id == listener) {
      stream = device.Accept(listener);
      CHECK(stream > 0 && device.Confirm(stream) == 0);
      device.Watch(stream, VsockDevice::kReadable);
      return;
    }
    if (device.Error(stream) != 0) {
      device.Watch(stream, 0);
      return;
    }
    if ((events & VsockDevice::kReadable) != 0) Read();
    if ((events & VsockDevice::kWritable) != 0) Write();
  }

  void Read() {
    uint8_t bytes[kMaxPacketBytes];
    const ssize_t count = device.Receive(stream, bytes, read_bytes);
    for (ssize_t i = 0; i < count; ++i) right = right && bytes[i] == Pattern(got++);
    if (!answers || count <= 0) return;
    to_send += static_cast<uint64_t>(count);
    Write();
  }

  // Writes messages until there is no room for one.
  void Write() {
    while (to_send > 0 && Send(std::min<uint64_t>(to_send, message_bytes))) continue;
    if (device.Error(stream) == 0) Watch();
  }

  void Watch() {
    device.Watch(stream, VsockDevice::kReadable | (to_send > 0 ? VsockDevice::kWritable : 0));
  }

  bool Send(size_t size) {
    std::vector<uint8_t> bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = Pattern(sent + i);
    const iovec part = {bytes.data(), size};
    const ssize_t result = device.Send(stream, &part, 1);
    if (result <= 0) return false;
    sent += static_cast<uint64_t>(result);
    to_send -= std::min<uint64_t>(to_send, static_cast<uint64_t>(result));
    return true;
  }

  VsockDevice& device;
  int listener = 0;
  int stream = 0;
  size_t read_bytes = kMaxPacketBytes;
  bool answers = false;
  uint64_t to_send = 0;
  size_t message_bytes = kMaxPacketBytes;
  uint64_t sent = 0;
  uint64_t got = 0;
  bool right = true;
};

std::string Kib(uint64_t bytes) {
  return bytes < 1024 ? std::to_string(bytes) + " B" : std::to_string(bytes / 1024) + " KiB";
}

void FromGuest(const Model& model, uint32_t socket_bytes, size_t message_bytes, bool answers) {
  const uint64_t total = std::min<uint64_t>(6'000'000, message_bytes * 20'000);
  Guest guest(model, socket_bytes, 256 * 1024);
  Host host(guest);
  host.answers = answers;
  guest.message_bytes = message_bytes;
  guest.to_send = total;
  guest.RunUntilIdle();
  const std::string name = std::string("from a guest like ") + model.name + ", a socket of " +
                           Kib(socket_bytes) + ", messages of " + Kib(message_bytes) +
                           (answers ? ", echoed" : "");
  const bool all = host.got == total && host.right && (!answers || guest.got == total);
  Say(all, name,
      std::to_string(host.got) + " of " + std::to_string(total) +
          " bytes, asleep: " + std::to_string(guest.asleep()));
}

void ToGuest(const Model& model, uint32_t socket_bytes, size_t message_bytes, bool late) {
  const uint64_t total = std::min<uint64_t>(6'000'000, message_bytes * 20'000);
  Guest guest(model, socket_bytes, 256 * 1024);
  Host host(guest);
  host.message_bytes = message_bytes;
  // A conversation begins with something that is read.
  host.to_send = std::min<uint64_t>(total, message_bytes);
  host.Write();
  guest.RunUntilIdle();
  guest.reads = !late;
  host.to_send = total - host.sent;
  host.Write();
  guest.RunUntilIdle();
  // A program that was busy with something else until nothing more came.
  while (late && !guest.reset) {
    const uint64_t before = guest.got;
    guest.Read();
    guest.RunUntilIdle();
    if (guest.got == before) break;
  }
  const std::string name = std::string("to a guest like ") + model.name + ", a socket of " +
                           Kib(socket_bytes) + ", messages of " + Kib(message_bytes) +
                           (late ? ", read late" : "");
  Say(guest.got == total && guest.right && !guest.reset, name,
      std::to_string(guest.got) + " of " + std::to_string(total) + " bytes" +
          (guest.reset ? ", and the guest resets it" : ""));
}

void RoundTrips() {
  Guest guest(kModels[3], 256 * 1024, 256 * 1024);
  Host host(guest);
  host.answers = true;
  constexpr size_t kCount = 1000;
  for (size_t i = 0; i < kCount; ++i) {
    guest.to_send = 64;
    guest.RunUntilIdle();
  }
  Say(guest.got == kCount * 64, "round trips", std::to_string(guest.got) + " bytes");
}

// The driver kicks for the buffer that the device waits for. A host that writes unasked takes this
// buffer before the device has seen the kick, which then tells it nothing.
void UnaskedWrite() {
  constexpr uint64_t kTotal = 300'000;
  Guest guest(kModels[3], 1024 * 1024, 256 * 1024);
  Host host(guest);
  host.message_bytes = 1000;
  host.to_send = kTotal;
  guest.keeps = true;
  guest.reads = false;
  host.Write();
  guest.RunUntilIdle();
  CHECK(host.to_send > 0);
  guest.OfferOne();
  CHECK(host.Send(host.message_bytes));
  while (guest.device->Wait(0)) guest.device->Run();
  guest.keeps = false;
  guest.RunUntilIdle();
  Say(host.sent == kTotal, "a write that nobody asked for",
      std::to_string(host.sent) + " of " + std::to_string(kTotal) + " bytes");
}

}  // namespace

int main() {
  for (const Model& model : kModels) {
    for (const uint32_t socket_bytes : {4096u, 64u * 1024, 256u * 1024, 1024u * 1024}) {
      for (const size_t message_bytes : {size_t{64}, size_t{300}, size_t{1000}, size_t{65536}}) {
        for (const bool flag : {false, true}) {
          FromGuest(model, socket_bytes, message_bytes, flag);
          ToGuest(model, socket_bytes, message_bytes, flag);
        }
      }
    }
  }
  RoundTrips();
  UnaskedWrite();
  return 0;
}
