// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "byte_queue.h"
#include "vsock_packet.h"

namespace waep {

// One connection of a virtio-vsock device: its state, its credit, and the bytes that have arrived.
// It has no queues, no clock and no descriptors. The device moves packets and calls the connection.
//
// The protocol (virtio 1.2, section 5.10.6). A connection is a pair of ports. It begins with a
// REQUEST of one side and a RESPONSE of the other; bytes travel in DATA packets, in order. SHUTDOWN
// says that its sender will send no more, or receive no more, or neither. When both are said, the
// other side answers with RESET, and the connection is gone. A RESET at any other time refuses a
// connection or breaks it.
//
//   kConnecting  we have asked            → kEstablished by RESPONSE, kDead by RESET
//   kOffered     the guest has asked      → kEstablished by Confirm, kDead by a refusal
//   kEstablished bytes travel             → kClosing by Close, kDead by RESET or both SHUTDOWNs
//   kClosing     we have said SHUTDOWN    → kDead by RESET, or by the device's clock
//   kDead        no packet finds it       (the owner may still read what has arrived)
//
// Credit. Each side keeps unread bytes in a buffer. Every packet carries the size of the sender's
// buffer (buf_alloc) and the number of bytes that it has read since the beginning (fwd_cnt). Both
// counters are 32 bits wide and wrap. The number of bytes that the peer may still send is
//
//   buf_alloc − (bytes sent − fwd_cnt).
//
// A CREDIT_UPDATE carries the two numbers without bytes; a CREDIT_REQUEST asks for one. We
// send an update after half of the window was read. The window is the most that the peer's sender
// has under way: some kernels bound it by their own receive buffer, whatever we offer. We send when
// there is credit for everything, or for a packet that is large enough (a quarter of the peer's
// buffer, at most 16 KiB).
//
// Credit counts bytes. Kernels from 6.12.92 on also bound the number of unread packets, by the
// memory that they use, and reset a connection that exceeds the bound. So this class remembers the
// ends of packets until the peer has read them, and keeps to the bound. That works only with a peer
// that sends an update when it has read everything; otherwise we would wait for ever. `bounded`
// says that the device has seen the peer do so.
class VsockConnection final {
 public:
  enum class State { kConnecting, kOffered, kEstablished, kClosing, kDead };
  enum class Arrival { kTaken, kIgnored, kRefused };

  static constexpr size_t kMaxPacketBytes = 64 * 1024;

  // `buffer_bytes` is what may wait here unread. Blocks for it come from `blocks`.
  VsockConnection(BlockPool* blocks, uint32_t buffer_bytes, uint32_t guest_cid, uint32_t local_port,
                  uint32_t peer_port)
      : buffer_bytes_(buffer_bytes),
        guest_cid_(guest_cid),
        local_port_(local_port),
        peer_port_(peer_port),
        received_(blocks) {}

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] uint32_t local_port() const { return local_port_; }
  [[nodiscard]] uint32_t peer_port() const { return peer_port_; }
  // A negative errno, once there is a reason why the connection is no more.
  [[nodiscard]] int error() const { return error_; }

  // The guest asks for the connection.
  void Offer(const vsock::Header& request);
  // The owner takes what the guest has asked for.
  void Confirm() { state_ = State::kEstablished; }
  // The owner of an established connection is done with it; what was sent still arrives.
  void Close();
  // Ends the connection, with or without an error.
  void Fail(int error);
  void Die();

  // A packet of the guest, before what it says itself. Returns whether it shows a peer that tells
  // unasked when it has read everything.
  bool LearnCredit(const vsock::Header& header);
  // Returns whether bytes can travel now that could not before.
  bool OnResponse();
  void OnReset();
  // Returns whether neither side has anything to say any more: it is to be reset.
  bool OnShutdown(uint32_t flags);
  // Takes `length` bytes, which `copy(to, offset, size)` puts where they belong. kRefused: the peer
  // had no right to send them.
  template <typename Copy>
  Arrival OnData(uint32_t length, Copy copy) {
    if (state_ == State::kClosing) return Arrival::kIgnored;
    const bool allowed = state_ == State::kEstablished && !peer_sends_no_more() &&
                         length <= buffer_bytes_ - received_.size();
    if (!allowed) return Arrival::kRefused;
    if (length == 0 || (own_shutdown_ & vsock::kNoReceive) != 0) return Arrival::kIgnored;
    received_.Add(length, copy);
    return Arrival::kTaken;
  }

  // Returns the packet of an operation, with the newest credit, which then counts as sent.
  vsock::Header Packet(vsock::Operation operation);

  // Returns bytes, 0 at the end, -EAGAIN, or why there is no more.
  ssize_t Receive(void* buffer, size_t length);
  [[nodiscard]] bool has_unread() const { return received_.size() > 0; }
  // Returns whether so much was read that the peer should get an update.
  [[nodiscard]] bool OwesCredit() const;

  // 0, or the errno with which sending fails.
  [[nodiscard]] int SendError() const;
  // How many of `left` bytes can be sent: 0 while the peer's room is not worth a packet, which
  // counts as being short of credit.
  uint32_t Sendable(size_t left, bool bounded);
  // A packet of so many bytes is sent.
  void Sent(uint32_t bytes);
  // It wants to send nothing more just now, or can.
  void Satisfied() { short_of_credit_ = false; }
  int Shutdown(uint8_t flags);

  // Returns whether Receive would return bytes or the end.
  [[nodiscard]] bool Readable() const;
  // Whether there is credit for a packet; else it is short of credit from now on.
  bool HasCredit(bool bounded) { return Sendable(kMaxPacketBytes, bounded) > 0; }
  // A peer that tells of credit unasked is not asked. The device does ask, now and then, for those
  // that are short of it.
  [[nodiscard]] bool short_of_credit() const { return short_of_credit_; }
  void AskForCredit() { asked_for_credit_ = true; }

 private:
  [[nodiscard]] bool peer_sends_no_more() const { return (peer_shutdown_ & vsock::kNoSend) != 0; }
  [[nodiscard]] bool over() const { return error_ != 0 || state_ == State::kDead; }
  [[nodiscard]] uint32_t Credit() const;
  // Returns the most that the peer's sender has under way.
  [[nodiscard]] uint32_t Window() const;
  [[nodiscard]] uint32_t UsefulCredit() const;
  // Returns whether the peer's queue takes another packet of any size.
  [[nodiscard]] bool TakesPackets(bool bounded) const;

  const uint32_t buffer_bytes_;
  const uint32_t guest_cid_;
  const uint32_t local_port_;
  const uint32_t peer_port_;
  State state_ = State::kConnecting;
  int error_ = 0;
  ByteQueue received_;
  uint32_t taken_ = 0;            // bytes read so far (fwd_cnt)
  uint32_t told_ = 0;             // what the peer knows of that
  uint32_t sent_ = 0;             // bytes sent so far (tx_cnt)
  uint32_t peer_buffer_ = 0;      // buf_alloc of the peer
  uint32_t peer_taken_ = 0;       // fwd_cnt of the peer
  std::vector<uint32_t> unread_;  // where packets end that the peer may not have read
  uint8_t own_shutdown_ = 0;
  uint8_t peer_shutdown_ = 0;
  bool short_of_credit_ = false;
  bool asked_for_credit_ = false;
};

}  // namespace waep
