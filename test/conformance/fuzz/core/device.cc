// SPDX-License-Identifier: MIT
//
// A hostile guest and a hostile VMM against the vsock device. The input is a program: each byte
// chooses a step, and the bytes after it are the step's operands. Steps write the guest's memory,
// offer valid or nearly valid buffers and packets, send vhost-user messages with and without
// descriptors, change the memory's layout, truncate its file, let time pass, and use the host's
// end.
//
// The device cannot touch a byte that the VMM has not given to it: the memory begins and ends
// within pages, and AddressSanitizer guards the bytes around it. Descriptors and the clock are
// those of fake_kernel.h.

#include <sys/socket.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "fake_kernel.h"
#include "transport/vsock_device.h"

namespace {

using fake_kernel::Kind;
using waep::unique_fd;
using waep::VsockDevice;

constexpr size_t kLead = 512;
constexpr size_t kMemoryBytes = fake_kernel::kFileBytes - kLead - 512;
constexpr uint64_t kUserBase = 0x7f0000000000;
constexpr uint32_t kQueueSize = 16;
constexpr uint64_t kRings[] = {0, 1024, 2048};
constexpr uint64_t kBuffers = 4096;
constexpr uint64_t kSentBytes = 1024;
constexpr uint64_t kReceived = kBuffers + kQueueSize * kSentBytes;
constexpr uint64_t kReceivedBytes = 2048;
// If the memory is in two regions, the cut is inside a packet, and not at any alignment.
constexpr uint64_t kSplit = kBuffers + 5 * kSentBytes + 20;
constexpr uint32_t kCid = 3;
constexpr uint32_t kMaxConnections = 8;
constexpr size_t kMaxSteps = 512;

// Requests of vhost-user.
constexpr uint32_t kSetFeatures = 2;
constexpr uint32_t kSetMemoryTable = 5;
constexpr uint32_t kSetQueueSize = 8;
constexpr uint32_t kSetQueueAddresses = 9;
constexpr uint32_t kSetQueueBase = 10;
constexpr uint32_t kGetQueueBase = 11;
constexpr uint32_t kSetQueueKick = 12;
constexpr uint32_t kSetQueueCall = 13;
constexpr uint32_t kSetProtocolFeatures = 16;
constexpr uint32_t kSetQueueEnabled = 18;
constexpr uint32_t kAddMemory = 37;
constexpr uint32_t kRemoveMemory = 38;

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

// A region in a message.
struct Region {
  uint64_t guest_address;
  uint64_t size;
  uint64_t user_address;
  uint64_t offset;
};

Region Part(uint64_t start, uint64_t end) {
  return {start, end - start, kUserBase + start, kLead + start};
}

class World {
 public:
  World() {
    VsockDevice::Callbacks callbacks = {[this](int id, int events) { Ready(id, events); },
                                        [](bool) {}};
    waep::VsockDeviceOptions options;
    options.guest_cid = kCid;
    options.buffer_bytes = 4096;
    options.max_connections = kMaxConnections;
    int error = 0;
    device_ = VsockDevice::Adopt(unique_fd(fake_kernel::MakeSocket()), options,
                                 std::move(callbacks), &error);
    CHECK(device_ != nullptr);
  }

  void Run(Input input) {
    SetUp(input.Byte());
    for (size_t steps = 0; steps < kMaxSteps && !input.empty(); ++steps) {
      // Steps that are listed twice are worth more of the time.
      static void (World::*const kSteps[])(Input&) = {
          &World::SendPacket,  &World::OfferBuffers, &World::UseHost,     &World::SendPacket,
          &World::UseHost,     &World::OfferChain,   &World::WriteMemory, &World::OfferIndirect,
          &World::SendMessage, &World::ChangeMemory, &World::Restart,     &World::PassTime,
          &World::SendPacket,  &World::SendRubbish,  &World::CutMemory,   &World::HangUp,
      };
      (this->*kSteps[input.Byte() % (sizeof kSteps / sizeof *kSteps)])(input);
      device_->Run();
      CHECK(device_->connections() <= kMaxConnections);
    }
    device_.reset();
  }

  [[nodiscard]] bool cut() const { return cut_; }

 private:
  static constexpr Kind kAllMemory[8] = {Kind::kMemory, Kind::kMemory, Kind::kMemory,
                                         Kind::kMemory, Kind::kMemory, Kind::kMemory,
                                         Kind::kMemory, Kind::kMemory};

  static void Message(uint32_t request, uint32_t flags, const void* body, uint32_t size,
                      std::initializer_list<Kind> descriptors) {
    Message(request, flags, body, size, descriptors.begin(), descriptors.size());
  }
  static void Message(uint32_t request, uint32_t flags, const void* body, uint32_t size,
                      const Kind* descriptors, size_t count) {
    uint8_t bytes[12 + 4096];
    const uint32_t header[3] = {request, flags, size};
    std::memcpy(bytes, header, sizeof header);
    std::memcpy(bytes + sizeof header, body, size);
    fake_kernel::Send(bytes, sizeof header + size, descriptors, count);
  }

  // From now on the device may touch the bytes of a region.
  static void Allow(const Region& region) {
    if (region.offset > fake_kernel::kFileBytes ||
        region.size > fake_kernel::kFileBytes - region.offset) {
      return;
    }
    fake_kernel::AllowMemory(region.offset, region.size);
  }

  static void SetMemory(const Region* regions, uint32_t count, bool one_by_one) {
    for (uint32_t i = 0; i < count; ++i) Allow(regions[i]);
    if (one_by_one) {
      for (uint32_t i = 0; i < count; ++i) ChangeRegion(kAddMemory, regions[i]);
      return;
    }
    uint8_t body[8 + 8 * sizeof(Region)];
    const uint32_t head[2] = {count, 0};
    std::memcpy(body, head, sizeof head);
    std::memcpy(body + sizeof head, regions, count * sizeof(Region));
    Message(kSetMemoryTable, 1, body, static_cast<uint32_t>(sizeof head + count * sizeof(Region)),
            kAllMemory, count);
  }

  static void ChangeRegion(uint32_t request, const Region& region) {
    uint8_t body[8 + sizeof(Region)] = {};
    std::memcpy(body + 8, &region, sizeof region);
    const bool added = request == kAddMemory;
    Message(request, 1, body, sizeof body, kAllMemory, added ? 1 : 0);
  }

  // Sets the device up in one of a VMM's ways, or not at all.
  void SetUp(uint8_t how) {
    if (how % 8 == 7) return;
    uint64_t features = 1ull << 32 | 1ull << 30 | 1ull << 29 | 1ull << 28;
    if (how % 8 == 6) features &= ~(1ull << 29);
    Message(kSetFeatures, 1, &features, sizeof features, {});
    const uint64_t protocol_features = how & 8 ? UINT64_MAX : 1ull << 9 | 1;
    Message(kSetProtocolFeatures, 1, &protocol_features, sizeof protocol_features, {});
    if (how & 16) {
      const Region regions[] = {Part(0, kSplit), Part(kSplit, kMemoryBytes)};
      SetMemory(regions, 2, (how & 32) != 0);
    } else {
      const Region region = Part(0, kMemoryBytes);
      SetMemory(&region, 1, (how & 32) != 0);
    }
    for (uint32_t queue = 0; queue < 2; ++queue) StartQueue(queue, (how & 64) != 0);
    device_->Run();
  }

  void StartQueue(uint32_t queue, bool blocking) {
    const uint32_t size[2] = {queue, kQueueSize};
    Message(kSetQueueSize, 1, size, sizeof size, {});
    const uint32_t base[2] = {queue, 0};
    Message(kSetQueueBase, 1, base, sizeof base, {});
    const uint64_t at = kUserBase + kRings[queue];
    const uint64_t addresses[5] = {queue, at, at + 512, at + 256, 0};
    Message(kSetQueueAddresses, 1, addresses, sizeof addresses, {});
    const uint64_t index = queue;
    Message(kSetQueueCall, 1, &index, sizeof index, {blocking ? Kind::kPipe : Kind::kEvent});
    Message(kSetQueueKick, 1, &index, sizeof index, {Kind::kEvent});
    const uint32_t enabled[2] = {queue, 1};
    Message(kSetQueueEnabled, 1, enabled, sizeof enabled, {});
    available_[queue] = 0;
  }

  // The guest may also write where the device must not look.
  __attribute__((no_sanitize("address"))) void Write(uint64_t address, const void* bytes,
                                                     size_t size) const {
    if (cut_ || address >= kMemoryBytes || size > kMemoryBytes - address) return;
    volatile uint8_t* const to = fake_kernel::Memory() + kLead + address;
    for (size_t i = 0; i < size; ++i) to[i] = static_cast<const uint8_t*>(bytes)[i];
  }

  // Returns an address that is mostly in the memory or just behind it.
  static uint64_t Address(Input& input) {
    return input.Byte() == 0 ? input.Number(8) : input.Word();
  }
  static uint32_t Length(Input& input) {
    return input.Byte() == 0 ? input.Long() : input.Word() % 4096;
  }

  // Steps

  void WriteMemory(Input& input) {
    const uint64_t address = Address(input);
    uint8_t bytes[64];
    const size_t size = input.Byte() % (sizeof bytes + 1);
    input.Bytes(bytes, size);
    Write(address, bytes, size);
  }

  void Publish(uint32_t queue, uint16_t head) {
    const uint64_t at = kRings[queue] + 256;
    Write(at + 4 + (available_[queue] % kQueueSize) * 2, &head, sizeof head);
    ++available_[queue];
    Write(at + 2, &available_[queue], sizeof available_[queue]);
  }

  void Descriptor(uint64_t table, uint32_t index, uint64_t address, uint32_t length, uint16_t flags,
                  uint16_t next) {
    uint8_t bytes[16];
    std::memcpy(bytes, &address, 8);
    std::memcpy(bytes + 8, &length, 4);
    std::memcpy(bytes + 12, &flags, 2);
    std::memcpy(bytes + 14, &next, 2);
    Write(table + index * 16, bytes, sizeof bytes);
  }

  void OfferChain(Input& input) {
    const uint32_t queue = input.Byte() % 2;
    const uint32_t count = input.Byte() % 8;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t index = input.Byte() % (kQueueSize + 1);
      const uint64_t address = Address(input);
      const uint32_t length = Length(input);
      const uint16_t flags = input.Byte() % 8;
      Descriptor(kRings[queue], index, address, length, flags, input.Byte() % (kQueueSize + 2));
    }
    Publish(queue, input.Byte() % (kQueueSize + 2));
  }

  void OfferIndirect(Input& input) {
    const uint64_t table = Address(input);
    const uint32_t count = 1 + input.Byte() % 8;
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t address = Address(input);
      const uint32_t length = Length(input);
      const uint16_t flags = input.Byte() % 8;
      Descriptor(table, i, address, length, flags, static_cast<uint16_t>(i + 1 + input.Byte() % 2));
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
    const uint64_t at = kBuffers + head * kSentBytes;
    Write(at, &header, sizeof header);
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
      Descriptor(kRings[0], head, kReceived + head * kReceivedBytes, size, 2, 0);
      Publish(0, head);
    }
  }

  void SendMessage(Input& input) {
    uint8_t body[600];
    const uint32_t request = input.Byte() % 44;
    const uint32_t flags = input.Byte() % 8 == 0 ? input.Long() : 1 | (input.Byte() % 2) << 3;
    const uint32_t size = input.Byte() == 0 ? input.Word() % sizeof body : input.Byte() % 64;
    input.Bytes(body, size);
    Kind descriptors[10];
    const size_t count = input.Byte() % 11;
    for (size_t i = 0; i < count; ++i) {
      static constexpr Kind kKinds[] = {Kind::kMemory, Kind::kEvent, Kind::kPipe};
      descriptors[i] = kKinds[input.Byte() % 3];
    }
    // The device may touch the memory that the message announces.
    const size_t first = request == kSetMemoryTable || request == kAddMemory ? 8 : size;
    for (size_t at = first; at + sizeof(Region) <= size; at += sizeof(Region)) {
      Region region;
      std::memcpy(&region, body + at, sizeof region);
      Allow(region);
    }
    Message(request, flags, body, size, descriptors, count);
  }

  void ChangeMemory(Input& input) {
    Region regions[4];
    const uint32_t count = 1 + input.Byte() % 4;
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t start = input.Word();
      regions[i] = Part(start, start + input.Word());
      if (input.Byte() == 0) regions[i].guest_address = input.Number(8);
      if (input.Byte() == 0) regions[i].user_address = input.Number(8);
    }
    const uint8_t how = input.Byte();
    if (how % 4 == 0) {
      SetMemory(regions, count, false);
    } else if (how % 4 == 1) {
      SetMemory(regions, count, true);
    } else if (how % 4 == 2) {
      ChangeRegion(kRemoveMemory, regions[0]);
    } else {
      ChangeRegion(kRemoveMemory, Part(0, how & 4 ? kSplit : kMemoryBytes));
    }
  }

  void SendRubbish(Input& input) {
    uint8_t bytes[32];
    const size_t size = input.Byte() % (sizeof bytes + 1);
    input.Bytes(bytes, size);
    fake_kernel::Send(bytes, size, nullptr, 0);
  }

  void Restart(Input& input) {
    const uint32_t queue = input.Byte() % 3;
    const uint32_t state[2] = {queue, 0};
    Message(kGetQueueBase, 1, state, sizeof state, {});
    const uint8_t how = input.Byte();
    if (queue < 2 && how % 2 == 0) StartQueue(queue, (how & 2) != 0);
  }

  void CutMemory(Input& input) {
    if (input.Byte() != 0x77) return;
    fake_kernel::CutMemory(input.Word());
    cut_ = true;
  }

  void HangUp(Input& input) {
    if (input.Byte() == 0x77) fake_kernel::HangUp();
  }

  void PassTime(Input& input) { fake_kernel::PassTime(input.Byte() * 250'000'000ull); }

  void UseHost(Input& input) {
    const uint8_t action = input.Byte();
    const int id = ids_.empty() ? input.Byte() : ids_[input.Byte() % ids_.size()];
    uint8_t bytes[300] = {};
    switch (action % 10) {
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
      case 8:
        device_->Advance(id);
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
    // A callback may close its own stream and other streams.
    if (id % 7 == 0) device_->Close(id);
  }

  bool cut_ = false;
  std::unique_ptr<VsockDevice> device_;
  uint16_t available_[2] = {};
  std::vector<int> ids_;
  uint32_t known_port_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Every input begins with the same memory, so that no input sees the bytes of an earlier one.
  fake_kernel::AllowMemory(0, fake_kernel::kFileBytes);
  std::memset(fake_kernel::Memory(), 0, fake_kernel::kFileBytes);
  fake_kernel::ForbidMemory();
  fake_kernel::Begin();
  bool cut;
  {
    World world;
    world.Run(Input(data, size));
    cut = world.cut();
  }
  if (cut) fake_kernel::RestoreMemory();
  fake_kernel::End();
  return 0;
}
