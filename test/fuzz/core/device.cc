// SPDX-License-Identifier: MIT
//
// A hostile guest and a hostile VMM against the vsock device. The input is a program: each byte
// chooses a step, and the bytes after it are the step's operands. Steps write the guest's memory,
// offer buffers and packets that are valid or nearly, send vhost-user messages with and without
// descriptors, cut the memory's file short, and use the host's end.
//
// The region of memory that the device gets neither begins nor ends at a page, and what lies around
// it in the same pages must not change.

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "vsock_device.h"

namespace {

using waep::unique_fd;
using waep::VsockDevice;

constexpr size_t kFileBytes = 256 * 1024;
constexpr size_t kLead = 512;
constexpr size_t kMemoryBytes = kFileBytes - kLead - 512;
constexpr uint8_t kCanary = 0xc5;
constexpr uint64_t kUserBase = 0x7f0000000000;
constexpr uint32_t kQueueSize = 16;
constexpr uint64_t kRings[] = {0, 1024, 2048};
constexpr uint64_t kBuffers = 4096;
constexpr uint32_t kCid = 3;
constexpr size_t kMaxSteps = 512;

#define CHECK(condition)                          \
  do {                                            \
    if (!(condition)) {                           \
      fprintf(stderr, "wrong: %s\n", #condition); \
      abort();                                    \
    }                                             \
  } while (false)

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  uint8_t Byte() { return static_cast<uint8_t>(Number(1)); }
  uint16_t Word() { return static_cast<uint16_t>(Number(2)); }
  uint32_t Long() { return static_cast<uint32_t>(Number(4)); }
  uint64_t Number(size_t bytes) {
    uint64_t value = 0;
    Bytes(&value, bytes);
    return value;
  }
  void Bytes(void* to, size_t count) {
    const size_t have = count < size_ ? count : size_;
    std::memcpy(to, data_, have);
    std::memset(static_cast<uint8_t*>(to) + have, 0, count - have);
    data_ += have;
    size_ -= have;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

// The guest's memory, its file made once.
struct Memory {
  Memory() : file(::memfd_create("guest", MFD_CLOEXEC)) { Reset(); }
  void Reset() {
    if (map != nullptr) ::munmap(map, kFileBytes);
    CHECK(::ftruncate(file.get(), 0) == 0 && ::ftruncate(file.get(), kFileBytes) == 0);
    map = static_cast<uint8_t*>(
        ::mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
    CHECK(map != MAP_FAILED);
    std::memset(map, kCanary, kLead);
    std::memset(map + kLead + kMemoryBytes, kCanary, kFileBytes - kLead - kMemoryBytes);
    cut = false;
  }
  void CheckCanaries() const {
    if (cut) return;
    for (size_t i = 0; i < kLead; ++i) CHECK(map[i] == kCanary);
    for (size_t i = kLead + kMemoryBytes; i < kFileBytes; ++i) CHECK(map[i] == kCanary);
  }
  void Write(uint64_t address, const void* bytes, size_t size) const {
    if (cut || address >= kMemoryBytes || size > kMemoryBytes - address) return;
    std::memcpy(map + kLead + address, bytes, size);
  }
  template <typename T>
  T Read(uint64_t address) const {
    T value = {};
    if (!cut) std::memcpy(&value, map + kLead + address, sizeof value);
    return value;
  }

  unique_fd file;
  uint8_t* map = nullptr;
  bool cut = false;
};

class World {
 public:
  explicit World(Memory& memory) : memory_(memory) {
    int pair[2];
    CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    vmm_.reset(pair[0]);
    waep::VsockDeviceOptions options;
    options.guest_cid = kCid;
    options.buffer_bytes = 4096;
    options.max_connections = 8;
    VsockDevice::Callbacks callbacks = {[this](int id, int events) { Ready(id, events); },
                                        [](bool) {}};
    int error = 0;
    device_ = VsockDevice::Adopt(unique_fd(pair[1]), options, std::move(callbacks), &error);
    CHECK(device_ != nullptr);
  }

  void Run(Input input) {
    if (input.Byte() % 4 != 0) SetUp();
    for (size_t steps = 0; steps < kMaxSteps && !input.empty(); ++steps) {
      static void (World::*const kSteps[])(Input&) = {
          &World::WriteMemory, &World::OfferChain,    &World::SendPacket, &World::OfferBuffers,
          &World::SendMessage, &World::UseHost,       &World::Restart,    &World::CutMemory,
          &World::SendRubbish, &World::OfferIndirect,
      };
      (this->*kSteps[input.Byte() % (sizeof kSteps / sizeof *kSteps)])(input);
      device_->Run();
      DrainAnswers();
      CHECK(device_->connections() <= 8);
    }
    device_.reset();
    memory_.CheckCanaries();
  }

 private:
  void Message(uint32_t request, uint32_t flags, const void* body, uint32_t size,
               const std::vector<int>& descriptors) {
    uint32_t header[3] = {request, flags, size};
    iovec parts[2] = {{header, sizeof header}, {const_cast<void*>(body), size}};
    alignas(cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))] = {};
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    if (!descriptors.empty()) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
      cmsghdr* const c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
      std::memcpy(CMSG_DATA(c), descriptors.data(), descriptors.size() * sizeof(int));
    }
    (void)::sendmsg(vmm_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  void DrainAnswers() {
    char buffer[8192];
    while (::recv(vmm_.get(), buffer, sizeof buffer, MSG_DONTWAIT) > 0) continue;
  }

  void SetUp() {
    const uint64_t features = 1ull << 32 | 1ull << 30 | 1ull << 29 | 1ull << 28;
    Message(2, 1, &features, sizeof features, {});
    const uint64_t table[5] = {1, 0, kMemoryBytes, kUserBase, kLead};
    Message(5, 1, table, sizeof table, {memory_.file.get()});
    for (uint32_t queue = 0; queue < 2; ++queue) StartQueue(queue);
    device_->Run();
  }

  void StartQueue(uint32_t queue) {
    const uint32_t size[2] = {queue, kQueueSize};
    Message(8, 1, size, sizeof size, {});
    const uint32_t base[2] = {queue, 0};
    Message(10, 1, base, sizeof base, {});
    const uint64_t at = kUserBase + kRings[queue];
    const uint64_t addresses[5] = {queue, at, at + 512, at + 256, 0};
    Message(9, 1, addresses, sizeof addresses, {});
    const unique_fd call(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    const unique_fd kick(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    const uint64_t index = queue;
    Message(13, 1, &index, sizeof index, {call.get()});
    Message(12, 1, &index, sizeof index, {kick.get()});
    available_[queue] = 0;
  }

  // Steps

  void WriteMemory(Input& input) {
    const uint32_t address = input.Long() % kMemoryBytes;
    uint8_t bytes[64];
    const size_t size = input.Byte() % (sizeof bytes + 1);
    input.Bytes(bytes, size);
    memory_.Write(address, bytes, size);
  }

  void Publish(uint32_t queue, uint16_t head) {
    const uint64_t at = kRings[queue] + 256;
    memory_.Write(at + 4 + (available_[queue] % kQueueSize) * 2, &head, sizeof head);
    ++available_[queue];
    memory_.Write(at + 2, &available_[queue], sizeof available_[queue]);
  }

  void Descriptor(uint64_t table, uint32_t index, uint64_t address, uint32_t length, uint16_t flags,
                  uint16_t next) {
    uint8_t bytes[16];
    std::memcpy(bytes, &address, 8);
    std::memcpy(bytes + 8, &length, 4);
    std::memcpy(bytes + 12, &flags, 2);
    std::memcpy(bytes + 14, &next, 2);
    memory_.Write(table + index * 16, bytes, sizeof bytes);
  }

  void OfferChain(Input& input) {
    const uint32_t queue = input.Byte() % 2;
    const uint32_t count = input.Byte() % 8;
    for (uint32_t i = 0; i < count; ++i) {
      Descriptor(kRings[queue], input.Byte() % (kQueueSize + 1), input.Long(), input.Long(),
                 input.Word() % 8, input.Byte() % (kQueueSize + 2));
    }
    Publish(queue, input.Byte() % (kQueueSize + 2));
  }

  void OfferIndirect(Input& input) {
    const uint64_t table = kBuffers + input.Word();
    const uint32_t count = 1 + input.Byte() % 8;
    for (uint32_t i = 0; i < count; ++i) {
      Descriptor(table, i, kBuffers + input.Word(), input.Word(), input.Byte() % 8,
                 static_cast<uint16_t>(i + 1 + input.Byte() % 2));
    }
    const uint32_t queue = input.Byte() % 2;
    const uint16_t head = input.Byte() % kQueueSize;
    Descriptor(kRings[queue], head, table, count * 16 + input.Byte() % 2, 4, 0);
    Publish(queue, head);
  }

  void SendPacket(Input& input) {
    waep::vsock::Header header;
    const uint8_t oddity = input.Byte();
    header.src_cid = oddity == 1 ? input.Long() : kCid;
    header.dst_cid = oddity == 2 ? input.Long() : waep::vsock::kHostCid;
    header.src_port = 1000 + input.Byte() % 4;
    header.dst_port = known_port_ != 0 && input.Byte() % 2 == 0 ? known_port_ : input.Byte() % 4;
    header.len = oddity == 3 ? input.Long() : input.Word() % 512;
    header.type = oddity == 4 ? input.Word() : 1;
    header.op = oddity == 5 ? input.Word() : input.Byte() % 9;
    header.flags = input.Byte() % 4;
    header.buf_alloc = oddity == 6 ? input.Long() : 65536;
    header.fwd_cnt = input.Long();
    const uint16_t head = input.Byte() % (kQueueSize - 1);
    const uint64_t at = kBuffers + head * 1024;
    memory_.Write(at, &header, sizeof header);
    const uint32_t size = oddity == 7 ? input.Word() : header.len;
    if (input.Byte() % 2 == 0) {
      Descriptor(kRings[1], head, at, static_cast<uint32_t>(sizeof header) + size, 0, 0);
    } else {
      Descriptor(kRings[1], head, at, sizeof header, 1, head + 1);
      Descriptor(kRings[1], head + 1u, at + sizeof header, size, 0, 0);
    }
    Publish(1, head);
  }

  void OfferBuffers(Input& input) {
    const uint32_t count = 1 + input.Byte() % kQueueSize;
    for (uint32_t i = 0; i < count; ++i) {
      const uint16_t head = available_[0] % kQueueSize;
      const uint32_t size = input.Byte() % 16 == 0 ? input.Byte() : 1024;
      Descriptor(kRings[0], head, kBuffers + 64 * 1024 + head * 2048, size, 2, 0);
      Publish(0, head);
    }
  }

  void SendMessage(Input& input) {
    uint8_t body[600];
    const uint32_t request = input.Byte() % 44;
    const uint32_t flags = input.Byte() % 8 == 0 ? input.Long() : 1 | (input.Byte() % 2) << 3;
    const uint32_t size = input.Word() % sizeof body;
    input.Bytes(body, size);
    std::vector<int> descriptors;
    unique_fd own[10];
    for (size_t i = 0, count = input.Byte() % 11; i < count; ++i) {
      own[i].reset(input.Byte() % 2 == 0 ? ::fcntl(memory_.file.get(), F_DUPFD_CLOEXEC, 0)
                                         : ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      descriptors.push_back(own[i].get());
    }
    Message(request, flags, body, size, descriptors);
  }

  void SendRubbish(Input& input) {
    uint8_t bytes[32];
    const size_t size = input.Byte() % (sizeof bytes + 1);
    input.Bytes(bytes, size);
    (void)::send(vmm_.get(), bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  void Restart(Input& input) {
    const uint32_t queue = input.Byte() % 3;
    const uint32_t state[2] = {queue, 0};
    Message(11, 1, state, sizeof state, {});
    if (queue < 2 && input.Byte() % 2 == 0) StartQueue(queue);
  }

  void CutMemory(Input& input) {
    if (input.Byte() != 0x77) return;
    (void)::ftruncate(memory_.file.get(), input.Long() % kFileBytes);
    memory_.cut = true;
  }

  void UseHost(Input& input) {
    const uint8_t action = input.Byte();
    const int id = ids_.empty() ? input.Byte() : ids_[input.Byte() % ids_.size()];
    uint8_t bytes[300] = {};
    switch (action % 9) {
      case 0:
        Keep(device_->Connect(1000 + input.Byte() % 4, input.Byte() % 4));
        break;
      case 1:
        Keep(device_->Listen(input.Byte() % 4 == 0 ? VsockDevice::kAnyPort : input.Byte() % 4,
                             input.Byte() % 4));
        break;
      case 2:
        Keep(device_->Accept(id));
        break;
      case 3:
        device_->Confirm(id);
        break;
      case 4: {
        const iovec parts[2] = {{bytes, input.Byte()}, {bytes, input.Word() % sizeof bytes}};
        device_->Send(id, parts, 2);
        break;
      }
      case 5:
        device_->Receive(id, bytes, input.Word() % sizeof bytes);
        break;
      case 6:
        device_->Shutdown(id, input.Byte() % 3);
        break;
      case 7:
        device_->Watch(id, input.Byte() % 4);
        break;
      default:
        device_->Close(id);
        break;
    }
  }

  void Keep(int id) {
    if (id < 0) return;
    if (ids_.size() < 32) ids_.push_back(id);
    uint32_t peer = 0;
    device_->Ports(id, &known_port_, &peer);
  }

  void Ready(int id, int events) {
    uint8_t bytes[64];
    CHECK(events != 0);
    if ((events & VsockDevice::kReadable) != 0) {
      if (const int accepted = device_->Accept(id); accepted > 0) {
        Keep(accepted);
        device_->Confirm(accepted);
      } else if (device_->Receive(id, bytes, sizeof bytes) <= 0) {
        device_->Watch(id, 0);
      }
    }
    if ((events & VsockDevice::kWritable) != 0) device_->Watch(id, VsockDevice::kReadable);
    // A callback may close its own stream and others'.
    if (id % 7 == 0) device_->Close(id);
  }

  Memory& memory_;
  unique_fd vmm_;
  std::unique_ptr<VsockDevice> device_;
  uint16_t available_[2] = {};
  std::vector<int> ids_;
  uint32_t known_port_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Memory memory;
  if (memory.cut) {
    memory.Reset();
  } else {
    std::memset(memory.map + kLead, 0, kBuffers);
  }
  World world(memory);
  world.Run(Input(data, size));
  return 0;
}
