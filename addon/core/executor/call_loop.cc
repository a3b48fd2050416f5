// SPDX-License-Identifier: MIT
#include "call_loop.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

namespace waep {
namespace {

// The most bytes of answers that wait for others.
constexpr size_t kHeldBytes = 32 * 1024;

}  // namespace

int CallLoop::Run(int fd) {
  fd_ = fd;
  is_unix_ = sockets::IsUnix(fd);
  received_.Take(received_.size());
  for (;;) {
    // A Unix socket also wakes a reader when its peer has received something (unix_write_space()).
    // poll(2) distinguishes the two, so this thread does not wake for nothing.
    pollfd ready = {fd_, POLLIN, 0};
    if (is_unix_) ::poll(&ready, 1, -1);
    const ssize_t got = sockets::Receive(fd_, received_.tail(), received_.room());
    if (got < 0) return static_cast<int>(got);
    // On vsock a peer's reset reads as a clean end, so only the frame tells whether it was one.
    if (got == 0) return received_.size() == 0 ? kClean : kTruncated;
    received_.Added(static_cast<size_t>(got));
    statistics_.bytes_in += static_cast<uint64_t>(got);
    const int end = ExecuteComplete();
    if (end != kClean) return end;
  }
}

int CallLoop::ExecuteComplete() {
  const int end = Execute();
  const int error = SendHeld({});
  return end != kClean ? end : error;
}

int CallLoop::Execute() {
  while (received_.size() >= frame::kHeaderBytes) {
    const frame::Header header = frame::Parse(received_.data());
    const uint64_t maximum = executor_->rules().limits.max_frame_bytes;
    if (header.length > maximum) {
      Answer(executor_->Reject(header.id, "ERR_FRAME_TOO_LARGE",
                               {{"length", header.length, {}}, {"maximum", maximum, {}}}),
             false);
      return kTooLarge;
    }
    if (header.type == frame::kEnd && header.flags == 0 && header.reserved == 0) return kEnded;
    if (!Executor::AcceptsHeader(header)) {
      Answer(executor_->Reject(
                 header.id, "ERR_FRAME_MALFORMED",
                 {{"why", 0,
                   "type " + std::to_string(header.type) + ", flags " +
                       std::to_string(header.flags) + ", reserved " +
                       std::to_string(header.reserved) + " is no request of version 1"}}),
             false);
      return kMalformed;
    }
    const size_t whole = frame::kHeaderBytes + header.length;
    if (received_.size() < whole) break;
    ++statistics_.frames_in;
    const int error =
        Answer(executor_->Execute(header.type, header.id, received_.data() + frame::kHeaderBytes,
                                  header.length),
               (header.flags & frame::kAnswerMayWait) != 0);
    executor_->audit()->Flush();
    if (error != 0) return error;
    received_.Take(whole);
  }
  received_.Compact();
  return kClean;
}

int CallLoop::Answer(const std::vector<iovec>& answer, bool may_wait) {
  ++statistics_.frames_out;
  size_t size = 0;
  for (const iovec& part : answer) size += part.iov_len;
  if (!may_wait || size > kHeldBytes - held_.size()) return SendHeld(answer);
  for (const iovec& part : answer) {
    const auto* const bytes = static_cast<const uint8_t*>(part.iov_base);
    held_.insert(held_.end(), bytes, bytes + part.iov_len);
  }
  return 0;
}

int CallLoop::SendHeld(const std::vector<iovec>& last) {
  if (held_.empty()) return SendAll(last.data(), last.size());
  parts_.assign(1, {held_.data(), held_.size()});
  parts_.insert(parts_.end(), last.begin(), last.end());
  const int error = SendAll(parts_.data(), parts_.size());
  held_.clear();
  return error;
}

int CallLoop::SendAll(const iovec* parts, size_t count) {
  std::vector<iovec> rest;
  while (count > 0) {
    ssize_t sent = sockets::Send(fd_, parts, count, MSG_DONTWAIT);
    if (sent == -EAGAIN) {
      // A client that does not read must not keep a record from the agent.
      executor_->audit()->Flush();
      sent = sockets::Send(fd_, parts, count);
    }
    if (sent < 0) return static_cast<int>(sent);
    statistics_.bytes_out += static_cast<uint64_t>(sent);
    size_t done = 0;
    while (done < count && static_cast<size_t>(sent) >= parts[done].iov_len) {
      sent -= static_cast<ssize_t>(parts[done++].iov_len);
    }
    if (done == count) break;
    // `parts` may point into `rest`, so the remaining parts are copied first.
    std::vector<iovec> left(parts + done, parts + count);
    left.front().iov_base = static_cast<uint8_t*>(left.front().iov_base) + sent;
    left.front().iov_len -= static_cast<size_t>(sent);
    rest.swap(left);
    parts = rest.data();
    count = rest.size();
  }
  return 0;
}

}  // namespace waep
