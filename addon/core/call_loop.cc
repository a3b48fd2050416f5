// SPDX-License-Identifier: MIT
#include "call_loop.h"

#include <poll.h>

namespace waep {

int CallLoop::Run(int fd) {
  fd_ = fd;
  is_unix_ = sockets::IsUnix(fd);
  received_.Take(received_.size());
  for (;;) {
    // A Unix socket wakes a reader also when its peer has taken what was sent to it; poll(2) tells
    // the two apart and spares this process a turn for nothing (unix_write_space()).
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
  while (received_.size() >= frame::kHeaderBytes) {
    const frame::Header header = frame::Parse(received_.data());
    const uint64_t maximum = executor_->rules().limits.max_frame_bytes;
    if (header.length > maximum) {
      SendAll(executor_->Reject(header.id, "ERR_FRAME_TOO_LARGE",
                                {{"length", header.length, {}}, {"maximum", maximum, {}}}));
      return kTooLarge;
    }
    if (header.type == frame::kEnd && header.flags == 0 && header.reserved == 0) return kEnded;
    if (!Executor::AcceptsHeader(header)) {
      SendAll(executor_->Reject(
          header.id, "ERR_FRAME_MALFORMED",
          {{"why", 0,
            "type " + std::to_string(header.type) + ", flags " + std::to_string(header.flags) +
                ", reserved " + std::to_string(header.reserved) + " is no request of version 1"}}));
      return kMalformed;
    }
    const size_t whole = frame::kHeaderBytes + header.length;
    if (received_.size() < whole) break;
    ++statistics_.frames_in;
    const int error = SendAll(executor_->Execute(
        header.type, header.id, received_.data() + frame::kHeaderBytes, header.length));
    if (error != 0) return error;
    received_.Take(whole);
  }
  received_.Compact();
  return kClean;
}

int CallLoop::SendAll(const std::vector<iovec>& answer) {
  std::vector<iovec> rest;
  const iovec* parts = answer.data();
  size_t count = answer.size();
  while (count > 0) {
    ssize_t sent = sockets::Send(fd_, parts, count);
    if (sent < 0) return static_cast<int>(sent);
    statistics_.bytes_out += static_cast<uint64_t>(sent);
    size_t done = 0;
    while (done < count && static_cast<size_t>(sent) >= parts[done].iov_len) {
      sent -= static_cast<ssize_t>(parts[done++].iov_len);
    }
    if (done == count) break;
    rest.assign(parts + done, parts + count);
    rest.front().iov_base = static_cast<uint8_t*>(rest.front().iov_base) + sent;
    rest.front().iov_len -= static_cast<size_t>(sent);
    parts = rest.data();
    count = rest.size();
  }
  ++statistics_.frames_out;
  return 0;
}

}  // namespace waep
