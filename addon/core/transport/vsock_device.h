// SPDX-License-Identifier: MIT
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "../unique_fd.h"
#include "vhost_backend.h"
#include "vhost_user.h"
#include "vsock_connection.h"
#include "vsock_packet.h"

namespace waep {

struct VsockDeviceOptions {
  // The guest's context identifier. The guest learns it from the device.
  uint32_t guest_cid = 3;
  // The most unread bytes of a connection. This is the credit that the guest gets.
  uint32_t buffer_bytes = 256 * 1024;
  // The most connections at a time, including those that are being closed.
  uint32_t max_connections = 4096;
};

// A guest's virtio-vsock device, which a VMM reaches over a vhost-user socket. It has the VMM, the
// queues, the listeners and the timers. vsock_connection.h has a single connection.
//
// One thread uses it. It works only inside calls of its functions: wait until `fd()` is readable,
// then call Run(). Streams and listeners are numbers. Their functions do not block, and return
// negative errno values: -EBADF for a number that is not in use.
//
// The guest may be hostile. Nothing that it writes makes the device read or write outside of the
// guest's memory, run without end, or hold more than buffer_bytes × max_connections, each rounded
// up to a block.
//
// Buffers and messages for the guest's driver must be published before the caller sleeps. Linux's
// drivers wait for different things (net/vmw_vsock of 6.1.176, 6.12.117 and 7.2.13):
//
//   - A packet of 64 KiB is a header and one part. Since 6.17 and 6.12.95 it is a header and parts
//     of up to 32 KiB. Since 6.2 a buffer for packets from the host is one part of 3776 bytes.
//   - Since 6.7 a socket's packets in the transmit queue count as its write memory until the device
//     gives them back. A sender that sleeps for credit is woken by credit only while that memory is
//     less than half of SO_SNDBUF (212992 bytes by default), else by the return of its packets.
//     close(2) with SO_LINGER waits for their return as well (7.x), and so do SIOCOUTQ and the
//     notifications of MSG_ZEROCOPY.
//   - Since 6.12.92 a socket also bounds how many packets wait in it to be read: by 6.12.94 so many
//     that 576 bytes for each are no more than its buffer. It resets the connection at the next
//     one, whatever credit is left (6.12.117 and 7.2.13 put small packets together before that).
//     Every driver that does so also sends its credit when a program has read everything; 5.10 does
//     neither.
//   - In 6.1.176 a sender has at most as much under way as its own socket may receive, whatever its
//     credit. It does not ask for more, but waits for an update that says that this much was read.
class VsockDevice final {
 public:
  enum Event : int { kReadable = 1, kWritable = 2 };

  struct Callbacks {
    // Called when a stream is ready for a watched event, or a listener for Accept. It may call any
    // function of the device except Run, and may destroy only streams.
    std::function<void(int id, int events)> ready;
    // Called when the guest's driver has come or gone. When it has gone, all streams are gone, too.
    std::function<void(bool running)> state;
  };

  // Listens on the Unix socket `path`, for one VMM at a time. Returns null, with `*error` a
  // negative errno, on failure.
  static std::unique_ptr<VsockDevice> Open(const char* path, const VsockDeviceOptions& options,
                                           Callbacks callbacks, int* error);
  // Returns a device that serves the VMM at the other end of a connected socket.
  static std::unique_ptr<VsockDevice> Adopt(unique_fd socket, const VsockDeviceOptions& options,
                                            Callbacks callbacks, int* error);
  // Resets every connection, so that the guest learns of it.
  ~VsockDevice();
  VsockDevice(const VsockDevice&) = delete;
  VsockDevice& operator=(const VsockDevice&) = delete;

  [[nodiscard]] int fd() const { return epoll_.get(); }
  // Does a bounded amount of the waiting work, and calls back.
  void Run();
  // Processes what has arrived, without calling back. Run calls back later for streams other than
  // `stream`.
  void Advance(int stream);
  // Sleeps until there is work. Returns false when there was none in time.
  bool Wait(int64_t timeout_ns);

  // Makes the event loop call Run soon, as if there was work.
  void Wake();

  // Returns whether the guest's driver is there.
  [[nodiscard]] bool running() const { return running_; }
  [[nodiscard]] size_t connections() const { return by_ports_.size(); }

  // Asks the guest for a connection from `local_port`, or from a free port if that is 0. The stream
  // becomes writable when the connection is made. On failure Error() tells the reason: -ECONNRESET
  // for a refusal. Connect returns -ENODEV without a driver, -EADDRINUSE, or -ENOBUFS for too many
  // connections.
  int Connect(uint32_t port, uint32_t local_port);
  // Listens on a port of the host. kAnyPort stands for all ports without a listener of their own.
  int Listen(uint32_t port, uint32_t backlog);
  // Takes a connection that the guest asks for, or returns -EAGAIN. The guest has no answer yet:
  // Confirm accepts the connection, and Close refuses it.
  int Accept(int listener);
  int Confirm(int stream);

  // Returns the number of bytes, 0 at the end, -EAGAIN, or the reason why the connection is gone:
  // -ECONNRESET (the peer reset it, or the guest has gone) or -EHOSTDOWN (the VMM has gone).
  ssize_t Receive(int stream, void* buffer, size_t length);
  // Returns how many bytes were taken. -EPIPE: the peer does not receive any more.
  ssize_t Send(int stream, const iovec* parts, size_t count);
  // Ends sending (`how` is SHUT_WR), receiving or both.
  int Shutdown(int stream, int how);
  // Closes a stream or a listener. Sent bytes still arrive.
  int Close(int id);
  [[nodiscard]] int Error(int stream) const;
  // Watches for `events`. The callback is repeated as long as they hold.
  int Watch(int id, int events);
  // Returns both ports of a stream: the host's and the guest's.
  int Ports(int stream, uint32_t* local, uint32_t* peer) const;

  static constexpr uint32_t kAnyPort = 0xffffffff;

 private:
  struct Listener {
    uint32_t port = 0;
    uint32_t backlog = 0;
    int events = 0;
    std::deque<int> offered;
  };

  using State = VsockConnection::State;

  // A connection, and the device's state for it.
  struct Stream {
    Stream(BlockPool* blocks, const VsockDeviceOptions& options, uint32_t local, uint32_t peer)
        : connection(blocks, options.buffer_bytes, options.guest_cid, local, peer) {}

    VsockConnection connection;
    int id = 0;
    bool owned = true;  // the caller has not closed it
    int listener = 0;   // the listener that it is offered to, or 0
    int events = 0;
    uint16_t unsent = 0;       // the control packets that wait for room, one bit for each operation
    bool queued = false;       // in unsent_
    bool marked = false;       // in ready_
    bool waiting = false;      // in waiting_
    uint64_t deadline_ns = 0;  // for the end of closing
  };

  using Handler = void (VsockDevice::*)(Stream&, const vsock::Header&, const Chain&);

  VsockDevice(const VsockDeviceOptions& options, Callbacks callbacks);

  int Start(unique_fd listening, unique_fd connected);
  void AcceptVmm();
  void Serve();
  void DropVmm(int error);
  void CheckState();
  void ResetAll(int error);
  void WatchKicks();
  void UnwatchKicks();
  void Turn();
  void Process();
  void Publish();

  void Drain();
  void Packet(const Chain& chain);
  void OnRequest(const vsock::Header& header);
  void OnResponse(Stream& stream, const vsock::Header& header, const Chain& chain);
  void OnReset(Stream& stream, const vsock::Header& header, const Chain& chain);
  void OnShutdown(Stream& stream, const vsock::Header& header, const Chain& chain);
  void OnData(Stream& stream, const vsock::Header& header, const Chain& chain);
  void OnCredit(Stream& stream, const vsock::Header& header, const Chain& chain);
  void OnCreditRequest(Stream& stream, const vsock::Header& header, const Chain& chain);

  void Refuse(const vsock::Header& header);
  void Reset(Stream& stream);
  void Enqueue(Stream& stream, vsock::Operation operation);
  void SendControl();
  bool Emit(const vsock::Header& header);
  void WantRoom();
  void AwaitRoom();
  void OnRoom();

  [[nodiscard]] int Ready(Stream& stream);
  void Mark(Stream& stream);
  void Dispatch();
  // Ends the connection, for a reason unless `error` is 0. Its owner may still read.
  void Destroy(Stream& stream, int error);
  Stream* Make(uint32_t local_port, uint32_t peer_port);
  [[nodiscard]] Stream* Find(int id) const;
  [[nodiscard]] Stream* FindOwned(int id) const;
  void StartClock();
  void Tick();

  static const Handler kHandlers[];

  const VsockDeviceOptions options_;
  const Callbacks callbacks_;
  const uint64_t config_;  // the configuration space: the guest's CID
  unique_fd epoll_;
  unique_fd listening_;
  unique_fd again_;
  unique_fd clock_;
  std::string path_;
  bool clock_running_ = false;
  bool woken_ = false;
  bool running_ = false;
  bool wants_room_ = false;
  bool in_run_ = false;
  bool announced_ = false;     // the owner knows that the driver is there
  bool was_lost_ = false;      // the driver was lost since then
  bool owes_ = false;          // the guest waits for something that is not published
  bool tells_of_end_ = false;  // the driver sends an update, unasked, when everything was read
  int watched_kicks_[2] = {-1, -1};

  std::unique_ptr<vhost_user::Connection> vmm_;
  std::unique_ptr<VhostBackend> backend_;
  std::unique_ptr<Chain> outgoing_;
  std::unique_ptr<Chain> incoming_;

  int next_id_ = 1;
  uint32_t next_port_;
  BlockPool blocks_;
  std::unordered_map<int, std::unique_ptr<Stream>> streams_;
  std::unordered_map<uint64_t, Stream*> by_ports_;
  std::unordered_map<int, std::unique_ptr<Listener>> listeners_;
  std::unordered_map<uint32_t, int> by_port_;
  std::vector<int> ready_;
  std::deque<int> unsent_;
  std::deque<vsock::Header> refusals_;
  std::vector<int> waiting_;  // streams that wait for room in the guest's queue
};

}  // namespace waep
