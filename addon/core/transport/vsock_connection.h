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
// REQUEST of one side and a RESPONSE of the other. Bytes travel in DATA packets, in order. SHUTDOWN
// says that its sender will send no more, receive no more, or both. After both, the other side
// answers with RESET, and the connection is gone. A RESET at any other time refuses a connection or
// breaks it.
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

  // `buffer_bytes` is the most that may be unread here. Its memory comes from `blocks`.
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
  // Returns a negative errno after the connection has failed, otherwise 0.
  [[nodiscard]] int error() const { return error_; }

  // The guest asks for the connection.
  void Offer(const vsock::Header& request);
  // The owner accepts the guest's connection.
  void Confirm() { state_ = State::kEstablished; }
  // The owner of an established connection does not need it any more. Sent bytes still arrive.
  void Close();
  // Ends the connection, with or without an error.
  void Fail(int error);
  void Die();

  // Reads the credit of a packet from the guest. It must be called before the packet is handled.
  // Returns whether the packet shows that the peer sends an update, unasked, when it has read
  // everything.
  bool LearnCredit(const vsock::Header& header);
  // Returns whether bytes can travel now that could not travel before.
  bool OnResponse();
  void OnReset();
  // Returns whether the peer will neither send nor receive any more, so that a reset must follow.
  bool OnShutdown(uint32_t flags);
  // Takes `length` bytes, which `copy(to, offset, size)` puts in their place. kRefused: the peer
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

  // Returns the packet of an operation. It carries the newest credit, which then counts as sent.
  vsock::Header Packet(vsock::Operation operation);

  // Returns the number of bytes, 0 at the end, -EAGAIN, or the error that ended the connection.
  ssize_t Receive(void* buffer, size_t length);
  [[nodiscard]] bool has_unread() const { return received_.size() > 0; }
  // Returns whether enough bytes were read for the peer to get an update.
  [[nodiscard]] bool OwesCredit() const;

  // Returns 0, or the negative errno with which sending fails.
  [[nodiscard]] int SendError() const;
  // Returns how many of `left` bytes can be sent. Returns 0 while the peer's room is not worth a
  // packet. The connection is then short of credit.
  uint32_t Sendable(size_t left, bool bounded);
  // Must be called for every sent packet, with its number of bytes.
  void Sent(uint32_t bytes);
  // The owner wants to send nothing more now, or can send it.
  void Satisfied() { short_of_credit_ = false; }
  int Shutdown(uint8_t flags);

  // Returns whether Receive would return bytes or the end.
  [[nodiscard]] bool Readable() const;
  // Returns whether there is credit for a packet. Without it, the connection is short of credit.
  bool HasCredit(bool bounded) { return Sendable(kMaxPacketBytes, bounded) > 0; }
  // Whether the device should ask the peer for credit at its next tick. Most drivers send an update
  // before that.
  [[nodiscard]] bool short_of_credit() const { return short_of_credit_; }
  void AskForCredit() { asked_for_credit_ = true; }

 private:
  [[nodiscard]] bool peer_sends_no_more() const { return (peer_shutdown_ & vsock::kNoSend) != 0; }
  [[nodiscard]] bool over() const { return error_ != 0 || state_ == State::kDead; }
  [[nodiscard]] uint32_t Credit() const;
  // Returns the most bytes that the peer's sender has under way.
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
  uint32_t told_ = 0;             // the part of it that the peer knows
  uint32_t sent_ = 0;             // bytes sent so far (tx_cnt)
  uint32_t peer_buffer_ = 0;      // buf_alloc of the peer
  uint32_t peer_taken_ = 0;       // fwd_cnt of the peer
  std::vector<uint32_t> unread_;  // the ends of packets that the peer may not have read
  uint8_t own_shutdown_ = 0;
  uint8_t peer_shutdown_ = 0;
  bool short_of_credit_ = false;
  bool asked_for_credit_ = false;
};

}  // namespace waep
