// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../unique_fd.h"

// The messages between the agent and the executor of a session, and between the agent and the
// keeper. They travel over pairs of SOCK_SEQPACKET sockets; some carry a descriptor.
//
//   byte 0   kind
//   byte 1   detail
//   2-3      zero
//   4-7      number, little-endian
//   8-       payload
//
// guest/agent/control.ts is the other side.
namespace waep::control {

enum Kind : uint8_t {
  // From the agent to the keeper.
  kRules = 0x01,        // the payload is a piece of the rules (rules.h)
  kConfinement = 0x04,  // after the rules; the payload is a Confinement (confinement.h)
  kStart = 0x05,  // with a descriptor: an executor's channel; number is the agent's number for it
  kKill = 0x06,   // number is that of a start
  // From the agent to the process that reads the files again (keeper_main.cc), and its answer.
  kReload = 0x08,
  kReloaded = 0x88,  // number is wait(2)'s status
  // From the agent to an executor.
  kAttach = 0x02,  // with a descriptor: a connection; detail is its Purpose, number its lease in ms
  kCancel = 0x03,  // number is the id of a request
  kEnd = 0x07,     // the session is over: the executor ends after the present call, with a report
  // From the keeper.
  kReady = 0x84,
  kStarted = 0x85,  // number is the process id; 0 with a payload of a 32-bit errno
  kEnded = 0x86,    // number is that of the start; the payload is wait(2)'s status in 32 bits
  // From the executor.
  kReport = 0x81,    // at the end; the payload is a map in CBOR
  kDetached = 0x82,  // the main connection is lost and the lease runs; number is CallLoop's End
  kAudit = 0x83,     // the payload is CBOR; number counts the dropped messages before it
};

enum Purpose : uint8_t {
  kMain = 0,    // carries the calls, and replaces the connection that did before
  kEvents = 1,  // carries the events of subscriptions
};

constexpr size_t kHeaderBytes = 8;
constexpr size_t kMaxMessageBytes = 64 * 1024;

struct Message {
  uint8_t kind = 0;
  uint8_t detail = 0;
  uint32_t number = 0;
  const uint8_t* payload = nullptr;
  size_t length = 0;
  unique_fd descriptor;
};

// The end of an executor or of the keeper. One thread may receive while others send.
class Channel {
 public:
  explicit Channel(int fd) : fd_(fd), buffer_(kMaxMessageBytes) {}

  [[nodiscard]] int fd() const { return fd_; }

  // Received descriptors are moved to numbers from `fd` on, away from the numbers of the session's
  // objects.
  void set_first_fd(int fd) { first_fd_ = fd; }

  // Waits for a message, which is valid until the next call. Returns 1, 0 when the agent is gone,
  // or a negative errno.
  int Receive(Message* message);

  // Sends, and waits until there is room. Returns 0 or a negative errno.
  int Send(Kind kind, uint32_t number, const uint8_t* payload, size_t length);

  // Sends, for threads that make calls. If there is no room it waits for a moment, once until there
  // is room again. It counts the messages that find none.
  void Audit(const uint8_t* record, size_t length);
  // How many messages have been lost since the last one that was sent.
  [[nodiscard]] uint32_t dropped() const { return dropped_; }

 private:
  int SendNow(Kind kind, uint32_t number, const uint8_t* payload, size_t length, int flags);

  int fd_;
  int first_fd_ = 0;
  std::vector<uint8_t> buffer_;
  std::atomic<uint32_t> dropped_{0};
};

// Handles messages in an executor. The control thread calls it. It must not block, because the
// agent relies on that thread.
class Handler {
 public:
  virtual void Attach(Purpose purpose, uint32_t lease_ms, unique_fd connection) = 0;
  virtual void Cancel(uint32_t id) = 0;
  virtual void End() = 0;
  // Returns the connection whose end should be reported, or -1.
  [[nodiscard]] virtual int watched() const = 0;
  virtual void PeerEnded() = 0;
  // Returns after how many milliseconds Turn must be called without a message, or -1.
  [[nodiscard]] virtual int wait_ms() const = 0;
  virtual void Turn() = 0;

 protected:
  ~Handler() = default;
};

// A thread that passes an agent's messages, and the end of a connection, to a handler. When the
// agent is gone, it ends the process at once.
class Thread {
 public:
  Thread(Channel* channel, Handler* handler) : channel_(channel), handler_(handler) {}

  // Starts the thread, and waits until it makes only the system calls of its work, so that the
  // sandbox can be installed. Returns 0 or a negative errno.
  int Start();

 private:
  static void* Run(void* self);
  void Serve();

  Channel* channel_;
  Handler* handler_;
  pthread_t thread_ = {};
  pthread_barrier_t running_ = {};
};

}  // namespace waep::control
