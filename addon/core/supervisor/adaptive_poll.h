// SPDX-License-Identifier: MIT
#pragma once

#include <poll.h>
#include <time.h>

#include <algorithm>
#include <cstdint>

namespace waep {

// Polls a descriptor for the next message after an answer, because a caller often calls again at
// once. It polls only as long as that takes less time than the event loop would.
class AdaptivePoll {
 public:
  // Must be called at the beginning of each turn of the event loop. It bounds the polling in a
  // turn.
  void Begin() { began_ns_ = NowNs(); }

  // Polls. Returns whether something has arrived.
  bool Wait(int fd) {
    if (NowNs() - began_ns_ > kTurnNs) return false;
    if (skip_ > 0) {
      --skip_;
      return false;
    }
    if (Ready(fd, kWaitNs)) {
      backoff_ = 1;
      return true;
    }
    skip_ = backoff_;
    backoff_ = std::min(backoff_ * 2, kMaxBackoff);
    return false;
  }

 private:
  static constexpr int64_t kTurnNs = 4 * 1000 * 1000;
  static constexpr int64_t kWaitNs = 50 * 1000;
  static constexpr uint32_t kMaxBackoff = 256;

  static int64_t NowNs() {
    timespec now;
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
  }

  static bool Ready(int fd, int64_t wait_ns) {
    pollfd waited = {fd, POLLIN, 0};
    const timespec wait = {0, static_cast<long>(wait_ns)};
    return ::ppoll(&waited, 1, &wait, nullptr) == 1 && (waited.revents & POLLIN) != 0;
  }

  int64_t began_ns_ = 0;
  // How many calls still skip the polling, and how many will do so after the next failure.
  uint32_t skip_ = 0;
  uint32_t backoff_ = 1;
};

}  // namespace waep
