// SPDX-License-Identifier: MIT
//
// The physical limit of an in-process device: the client side of pingpong.c, driving the addon's
// core directly.
//
//   device SOCKET --cid N
//
// Listens on the vhost-user socket SOCKET for QEMU and then takes commands, one per line on its
// standard input:
//
//   client PORT REQUEST REPLY WARMUP COUNT PAUSE    one round-trip time in nanoseconds per line,
//                                                   with a pause of so many nanoseconds before each
//   bulk PORT REQUEST REPLY COUNT                   requests without waiting for replies, then all
//                                                   of the replies; the whole time in nanoseconds
//
// Each answer ends with an empty line. Errors end the program.

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "../../addon/core/transport/vsock_device.h"
#include "clock.h"

namespace {

using waep::VsockDevice;

[[noreturn]] void Fail(const char* what, ssize_t error) {
  fprintf(stderr, "%s: %s\n", what, strerror(static_cast<int>(-error)));
  exit(1);
}

class Client {
 public:
  Client(VsockDevice& device, uint32_t port) : device_(device), stream_(device.Connect(port, 0)) {
    if (stream_ < 0) Fail("connect", stream_);
    iovec nothing = {};
    ssize_t result;
    while ((result = device_.Send(stream_, &nothing, 1)) == -ENOTCONN) Next();
    if (result < 0) Fail("connect", result);
  }
  ~Client() { device_.Close(stream_); }

  void SendAll(char* bytes, size_t length) {
    while (length > 0) {
      const iovec part = {bytes, length};
      const ssize_t sent = device_.Send(stream_, &part, 1);
      if (sent == -EAGAIN) {
        // The device looks for room in the guest's queue for those who wait.
        device_.Watch(stream_, VsockDevice::kWritable);
        Next();
        device_.Watch(stream_, 0);
        continue;
      }
      if (sent < 0) Fail("send", sent);
      bytes += sent;
      length -= static_cast<size_t>(sent);
    }
  }

  void ReceiveAll(char* bytes, size_t length) {
    while (length > 0) {
      const ssize_t got = device_.Receive(stream_, bytes, length);
      if (got == -EAGAIN) {
        Next();
        continue;
      }
      if (got <= 0) Fail("receive", got == 0 ? -EPIPE : got);
      bytes += got;
      length -= static_cast<size_t>(got);
    }
  }

 private:
  void Next() {
    device_.Wait(-1);
    device_.Run();
  }

  VsockDevice& device_;
  const int stream_;
};

void Begin(Client& client, uint32_t request, uint32_t reply) {
  uint32_t sizes[2] = {request, reply};
  client.SendAll(reinterpret_cast<char*>(sizes), sizeof sizes);
}

void RoundTrips(VsockDevice& device, uint32_t port, uint32_t request, uint32_t reply, size_t warmup,
                size_t count, uint64_t pause_ns) {
  Client client(device, port);
  Begin(client, request, reply);
  std::vector<char> out(request, 0x5a);
  std::vector<char> in(reply, 0);
  std::vector<uint64_t> samples(count);
  for (size_t i = 0; i < warmup + count; ++i) {
    clock_sleep(pause_ns);
    const uint64_t start = clock_now_ns();
    client.SendAll(out.data(), out.size());
    client.ReceiveAll(in.data(), in.size());
    if (i >= warmup) samples[i - warmup] = clock_now_ns() - start;
  }
  for (const uint64_t sample : samples) printf("%llu\n", static_cast<unsigned long long>(sample));
}

void Bulk(VsockDevice& device, uint32_t port, uint32_t request, uint32_t reply, size_t count) {
  Client client(device, port);
  Begin(client, request, reply);
  std::vector<char> out(request, 0x5a);
  std::vector<char> in(reply, 0);
  const uint64_t start = clock_now_ns();
  for (size_t i = 0; i < count; ++i) client.SendAll(out.data(), out.size());
  for (size_t i = 0; i < count; ++i) client.ReceiveAll(in.data(), in.size());
  printf("%llu\n", static_cast<unsigned long long>(clock_now_ns() - start));
}

void Obey(VsockDevice& device, const std::string& line) {
  unsigned port;
  unsigned request;
  unsigned reply;
  size_t warmup;
  size_t count;
  unsigned long pause_ns;
  if (sscanf(line.c_str(), "client %u %u %u %zu %zu %lu", &port, &request, &reply, &warmup, &count,
             &pause_ns) == 6) {
    RoundTrips(device, port, request, reply, warmup, count, pause_ns);
  } else if (sscanf(line.c_str(), "bulk %u %u %u %zu", &port, &request, &reply, &count) == 4) {
    Bulk(device, port, request, reply, count);
  } else {
    fprintf(stderr, "unknown command: %s\n", line.c_str());
    exit(2);
  }
  puts("");
  fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 || strcmp(argv[2], "--cid") != 0) {
    fputs("usage: device SOCKET --cid N\n", stderr);
    return 2;
  }
  waep::VsockDeviceOptions options;
  options.guest_cid = static_cast<uint32_t>(strtoul(argv[3], nullptr, 10));
  signal(SIGPIPE, SIG_IGN);
  int error = 0;
  const std::unique_ptr<VsockDevice> device =
      VsockDevice::Open(argv[1], options, {[](int, int) {}, [](bool) {}}, &error);
  if (device == nullptr) Fail(argv[1], error);
  puts("listening\n");
  fflush(stdout);
  std::string line;
  for (;;) {
    pollfd watch[2] = {{device->fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (poll(watch, 2, -1) < 0) continue;
    if (watch[0].revents != 0) device->Run();
    if (watch[1].revents == 0) continue;
    char byte;
    if (read(STDIN_FILENO, &byte, 1) != 1) return 0;
    if (byte != '\n') {
      line += byte;
      continue;
    }
    Obey(*device, line);
    line.clear();
  }
}
