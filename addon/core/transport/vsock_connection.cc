// SPDX-License-Identifier: MIT
#include "vsock_connection.h"

#include <errno.h>

#include <algorithm>

namespace waep {
namespace {

// A blocked sender goes on when it can send this much, not in tiny packets.
constexpr uint32_t kUsefulCreditBytes = 16 * 1024;
// A generous estimate of a packet's memory in a Linux guest beside its bytes; and the largest
// number of a connection's unread packets that are remembered.
constexpr uint32_t kPacketOverheadBytes = 640;
constexpr size_t kMaxUnread = 1024;
// Every driver sends an update when it has read something and the peer knows of less free room than
// this. In a small socket that is always so.
constexpr uint32_t kLittleFreeBytes = 64 * 1024;

}  // namespace

void VsockConnection::Offer(const vsock::Header& request) {
  state_ = State::kOffered;
  peer_buffer_ = request.buf_alloc;
  peer_taken_ = request.fwd_cnt;
}

void VsockConnection::Close() {
  received_.Clear();
  state_ = State::kClosing;
  own_shutdown_ = vsock::kNeither;
}

void VsockConnection::Fail(int error) {
  error_ = error;
  Die();
}

void VsockConnection::Die() {
  if (state_ == State::kConnecting && error_ == 0) error_ = -ECONNRESET;
  state_ = State::kDead;
}

bool VsockConnection::LearnCredit(const vsock::Header& header) {
  const uint32_t read = header.fwd_cnt - peer_taken_;
  const bool tells = header.op == vsock::kCreditUpdate && !asked_for_credit_ && read > 0 &&
                     header.buf_alloc > kLittleFreeBytes &&
                     read < header.buf_alloc - kLittleFreeBytes;
  peer_buffer_ = header.buf_alloc;
  peer_taken_ = header.fwd_cnt;
  const auto unread = std::find_if(unread_.begin(), unread_.end(), [this](uint32_t end) {
    return static_cast<int32_t>(end - peer_taken_) > 0;
  });
  unread_.erase(unread_.begin(), unread);
  return tells;
}

bool VsockConnection::OnResponse() {
  if (state_ != State::kConnecting) return false;
  state_ = State::kEstablished;
  return true;
}

void VsockConnection::OnReset() {
  // After the peer's shutdown, the reset only confirms the end.
  if (peer_sends_no_more()) {
    peer_shutdown_ = vsock::kNeither;
    Die();
  } else {
    Fail(-ECONNRESET);
  }
}

bool VsockConnection::OnShutdown(uint32_t flags) {
  peer_shutdown_ |= static_cast<uint8_t>(flags & vsock::kNeither);
  return peer_shutdown_ == vsock::kNeither;
}

vsock::Header VsockConnection::Packet(vsock::Operation operation) {
  vsock::Header header;
  header.src_cid = vsock::kHostCid;
  header.dst_cid = guest_cid_;
  header.src_port = local_port_;
  header.dst_port = peer_port_;
  header.type = vsock::kStream;
  header.op = operation;
  header.flags = operation == vsock::kShutdown ? own_shutdown_ : 0;
  header.buf_alloc = buffer_bytes_;
  header.fwd_cnt = told_ = taken_;
  return header;
}

ssize_t VsockConnection::Receive(void* buffer, size_t length) {
  const size_t taken = received_.Take(buffer, length);
  taken_ += static_cast<uint32_t>(taken);
  if (taken > 0) return static_cast<ssize_t>(taken);
  if (error_ != 0) return error_;
  const bool ended =
      state_ == State::kDead || peer_sends_no_more() || (own_shutdown_ & vsock::kNoReceive) != 0;
  return ended ? 0 : -EAGAIN;
}

bool VsockConnection::OwesCredit() const {
  // The update is early enough for the guest to go on sending while the update travels.
  return state_ == State::kEstablished && taken_ - told_ >= Window() / 2;
}

int VsockConnection::SendError() const {
  if (error_ != 0) return error_;
  if (state_ == State::kConnecting || state_ == State::kOffered) return -ENOTCONN;
  const bool ended = state_ == State::kDead || (peer_shutdown_ & vsock::kNoReceive) != 0 ||
                     (own_shutdown_ & vsock::kNoSend) != 0;
  return ended ? -EPIPE : 0;
}

uint32_t VsockConnection::Sendable(size_t left, bool bounded) {
  const uint32_t credit = Credit();
  if (credit < std::min<size_t>(left, UsefulCredit()) || !TakesPackets(bounded)) {
    short_of_credit_ = true;
    return 0;
  }
  return static_cast<uint32_t>(std::min({left, size_t{credit}, kMaxPacketBytes}));
}

void VsockConnection::Sent(uint32_t bytes) {
  sent_ += bytes;
  if (unread_.size() < kMaxUnread) unread_.push_back(sent_);
}

int VsockConnection::Shutdown(uint8_t flags) {
  if (state_ != State::kEstablished) return -ENOTCONN;
  own_shutdown_ |= flags;
  return 0;
}

bool VsockConnection::Readable() const {
  if (state_ == State::kConnecting || state_ == State::kOffered) return false;
  return over() || has_unread() || peer_sends_no_more() || (own_shutdown_ & vsock::kNoReceive) != 0;
}

uint32_t VsockConnection::Credit() const {
  const uint32_t under_way = sent_ - peer_taken_;
  return under_way < peer_buffer_ ? peer_buffer_ - under_way : 0;
}

uint32_t VsockConnection::Window() const {
  return std::max<uint32_t>(2, std::min(buffer_bytes_, peer_buffer_));
}

uint32_t VsockConnection::UsefulCredit() const {
  return std::max<uint32_t>(1, std::min(kUsefulCreditBytes, peer_buffer_ / 4));
}

bool VsockConnection::TakesPackets(bool bounded) const {
  const size_t most = std::min<size_t>(peer_buffer_ / kPacketOverheadBytes, kMaxUnread);
  const bool counts = bounded || peer_buffer_ <= kLittleFreeBytes;
  return !counts || unread_.size() < std::max<size_t>(most, 1);
}

}  // namespace waep
