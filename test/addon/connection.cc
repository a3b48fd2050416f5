// SPDX-License-Identifier: MIT
//
// A connection of virtio-vsock without queues: what becomes of it by each packet, and its credit
// where counters wrap. Prints a line for each case, which begins with "ok".

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "transport/vsock_connection.h"

namespace {

using waep::BlockPool;
using waep::VsockConnection;
using waep::vsock::Header;
using State = VsockConnection::State;
using Arrival = VsockConnection::Arrival;
namespace vsock = waep::vsock;

constexpr uint32_t kBufferBytes = 256 * 1024;

#define CHECK(condition)                                             \
  do {                                                               \
    if (!(condition)) {                                              \
      fprintf(stderr, "wrong, line %d: %s\n", __LINE__, #condition); \
      exit(1);                                                       \
    }                                                                \
  } while (false)

Header Credit(uint32_t buffer, uint32_t read, uint16_t op = vsock::kCreditUpdate) {
  Header header;
  header.op = op;
  header.buf_alloc = buffer;
  header.fwd_cnt = read;
  return header;
}

struct Case {
  BlockPool blocks;
  VsockConnection connection{&blocks, kBufferBytes, 3, 80, 5000};

  explicit Case(uint32_t peer_buffer) {
    connection.LearnCredit(Credit(peer_buffer, 0, vsock::kResponse));
    CHECK(connection.OnResponse());
  }

  Arrival Take(uint32_t length, uint8_t value = 7) {
    return connection.OnData(length,
                             [&](uint8_t* to, size_t, size_t size) { memset(to, value, size); });
  }
};

void BeginsByAResponse() {
  BlockPool blocks;
  VsockConnection connection(&blocks, kBufferBytes, 3, 80, 5000);
  CHECK(connection.state() == State::kConnecting && connection.SendError() == -ENOTCONN);
  CHECK(!connection.Readable());
  CHECK(connection.OnResponse() && connection.state() == State::kEstablished);
  CHECK(!connection.OnResponse());
  const Header header = connection.Packet(vsock::kData);
  CHECK(header.src_cid == 2 && header.dst_cid == 3 && header.src_port == 80);
  CHECK(header.dst_port == 5000 && header.buf_alloc == kBufferBytes && header.fwd_cnt == 0);
}

void IsRefusedByAReset() {
  BlockPool blocks;
  VsockConnection connection(&blocks, kBufferBytes, 3, 80, 5000);
  connection.OnReset();
  CHECK(connection.state() == State::kDead && connection.error() == -ECONNRESET);
  CHECK(connection.Readable() && connection.SendError() == -ECONNRESET);
}

void IsOfferedWithCredit() {
  BlockPool blocks;
  VsockConnection connection(&blocks, kBufferBytes, 3, 80, 5000);
  connection.Offer(Credit(1000, 0, vsock::kRequest));
  CHECK(connection.state() == State::kOffered && connection.SendError() == -ENOTCONN);
  connection.Confirm();
  CHECK(connection.SendError() == 0 && connection.Sendable(5000, false) == 1000);
}

void SendsWhatThereIsCreditFor() {
  Case one(100 * 1024);
  VsockConnection& connection = one.connection;
  CHECK(connection.Sendable(1 << 20, false) == VsockConnection::kMaxPacketBytes);
  connection.Sent(64 * 1024);
  CHECK(connection.Sendable(1 << 20, false) == 36 * 1024);
  connection.Sent(30 * 1024);
  // Crumbs are not sent, unless they are all there is.
  CHECK(connection.Sendable(1 << 20, false) == 0 && connection.short_of_credit());
  CHECK(connection.Sendable(10, false) == 10);
  connection.LearnCredit(Credit(100 * 1024, 64 * 1024));
  CHECK(connection.Sendable(1 << 20, false) == VsockConnection::kMaxPacketBytes);
  // A peer that shrinks its buffer below what is under way has nothing to offer.
  connection.LearnCredit(Credit(1024, 64 * 1024));
  CHECK(connection.Sendable(1, false) == 0);
}

void CountersWrap() {
  Case one(64 * 1024);
  VsockConnection& connection = one.connection;
  std::vector<uint8_t> bytes(64 * 1024);
  uint32_t read = 0;
  for (uint64_t done = 0; done < (1ull << 32) + (1 << 20); done += 64 * 1024) {
    CHECK(connection.Sendable(64 * 1024, true) == 64 * 1024);
    connection.Sent(64 * 1024);
    CHECK(connection.Sendable(1, true) == 0);
    read += 64 * 1024;
    connection.LearnCredit(Credit(64 * 1024, read));
  }
  for (uint64_t done = 0; done < (1ull << 32) + (1 << 20); done += bytes.size()) {
    CHECK(one.Take(64 * 1024) == Arrival::kTaken);
    CHECK(connection.Receive(bytes.data(), bytes.size()) == 64 * 1024);
    CHECK(connection.OwesCredit());
    CHECK(connection.Packet(vsock::kCreditUpdate).fwd_cnt ==
          static_cast<uint32_t>(done + bytes.size()));
    CHECK(!connection.OwesCredit());
  }
}

void BoundsThePackets() {
  // By its buffer of 6400 bytes it takes ten packets, however small they are.
  Case one(6400);
  for (int i = 0; i < 10; ++i) {
    CHECK(one.connection.Sendable(1, true) == 1);
    one.connection.Sent(1);
  }
  CHECK(one.connection.Sendable(1, true) == 0 && !one.connection.HasCredit(true));
  one.connection.LearnCredit(Credit(6400, 4));
  CHECK(one.connection.Sendable(1, true) == 1);
  // A large buffer is bounded only towards a peer that tells when it has read everything.
  Case two(128 * 1024);
  for (int i = 0; i < 205; ++i) {
    if (i < 204) CHECK(two.connection.Sendable(1, true) == 1);
    two.connection.Sent(1);
  }
  CHECK(two.connection.Sendable(1, true) == 0 && two.connection.Sendable(1, false) == 1);
}

void HearsThatAPeerTells() {
  Case one(256 * 1024);
  CHECK(!one.connection.LearnCredit(Credit(256 * 1024, 0)));
  CHECK(one.connection.LearnCredit(Credit(256 * 1024, 100)));
  CHECK(!one.connection.LearnCredit(Credit(256 * 1024, 256 * 1024)));
  one.connection.AskForCredit();
  CHECK(!one.connection.LearnCredit(Credit(256 * 1024, 256 * 1024 + 10)));
}

void BelievesNobody() {
  Case one(1024);
  CHECK(one.Take(kBufferBytes) == Arrival::kTaken);
  CHECK(one.Take(1) == Arrival::kRefused);
  Case two(1024);
  CHECK(!two.connection.OnShutdown(vsock::kNoSend));
  CHECK(two.Take(1) == Arrival::kRefused);
  BlockPool blocks;
  VsockConnection early(&blocks, kBufferBytes, 3, 80, 5000);
  CHECK(early.OnData(1, [](uint8_t*, size_t, size_t) {}) == Arrival::kRefused);
}

void EndsInHalves() {
  uint8_t bytes[16];
  Case one(1024);
  CHECK(one.Take(3) == Arrival::kTaken);
  CHECK(!one.connection.OnShutdown(vsock::kNoSend));
  CHECK(one.connection.Receive(bytes, sizeof bytes) == 3 && bytes[2] == 7);
  CHECK(one.connection.Receive(bytes, sizeof bytes) == 0);
  CHECK(one.connection.SendError() == 0);
  CHECK(one.connection.Shutdown(vsock::kNoSend) == 0 && one.connection.SendError() == -EPIPE);
  CHECK(one.connection.Packet(vsock::kShutdown).flags == vsock::kNoSend);
  CHECK(one.connection.Packet(vsock::kData).flags == 0);
  CHECK(one.connection.OnShutdown(vsock::kNoReceive));
  // The reset behind a shutdown is no error.
  one.connection.OnReset();
  CHECK(one.connection.state() == State::kDead && one.connection.error() == 0);
  CHECK(one.connection.Receive(bytes, sizeof bytes) == 0);
}

void KeepsWhatArrivedBeforeAReset() {
  uint8_t bytes[16];
  Case one(1024);
  CHECK(one.Take(3) == Arrival::kTaken);
  one.connection.OnReset();
  CHECK(one.connection.Receive(bytes, sizeof bytes) == 3);
  CHECK(one.connection.Receive(bytes, sizeof bytes) == -ECONNRESET);
}

void ClosingIgnoresBytes() {
  Case one(1024);
  one.connection.Close();
  CHECK(one.connection.state() == State::kClosing);
  CHECK(one.connection.Packet(vsock::kShutdown).flags == vsock::kNeither);
  CHECK(one.Take(10) == Arrival::kIgnored);
  CHECK(one.connection.Shutdown(vsock::kNoSend) == -ENOTCONN);
}

}  // namespace

int main() {
  const struct {
    const char* name;
    void (*run)();
  } cases[] = {
      {"begins by a response", BeginsByAResponse},
      {"is refused by a reset", IsRefusedByAReset},
      {"is offered with credit", IsOfferedWithCredit},
      {"sends what there is credit for", SendsWhatThereIsCreditFor},
      {"counters wrap", CountersWrap},
      {"bounds the packets", BoundsThePackets},
      {"hears that a peer tells", HearsThatAPeerTells},
      {"believes nobody", BelievesNobody},
      {"ends in halves", EndsInHalves},
      {"keeps what arrived before a reset", KeepsWhatArrivedBeforeAReset},
      {"closing ignores bytes", ClosingIgnoresBytes},
  };
  for (const auto& one : cases) {
    one.run();
    printf("ok %s\n", one.name);
  }
  return 0;
}
