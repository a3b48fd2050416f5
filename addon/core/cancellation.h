// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace waep {

// Cancels requests by their ids: one that has not begun will not, and one that runs is interrupted
// by a signal, which the verifier heeds (bpf_check() with signal_pending()). The thread that calls
// makes all calls but Cancel.
class Cancellation {
 public:
  // Takes the calling thread for the one that executes requests, and handles the signal.
  // Returns 0 or a negative errno.
  int Prepare();

  // False when the request is not to begin.
  bool Begin(uint32_t id) {
    running_.store(kRunning | id);
    return !waiting_.load() || Admit(id);
  }

  // Whether the request that ends here was interrupted. No signal of it comes any later.
  bool End() {
    running_.store(0);
    return signalled_.load() && Settle();
  }

  // On any other thread.
  void Cancel(uint32_t id);

 private:
  static constexpr uint64_t kRunning = uint64_t{1} << 32;
  // Ids that were answered before they could be cancelled stay; the oldest go first.
  static constexpr size_t kMaxWaiting = 256;

  bool Admit(uint32_t id);
  bool Settle();

  std::atomic<uint64_t> running_{0};
  std::atomic<bool> waiting_{false};
  std::atomic<bool> signalled_{false};
  std::mutex mutex_;
  std::vector<uint32_t> ids_;
  pid_t thread_ = 0;
};

}  // namespace waep
