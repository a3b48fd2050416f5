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
// by a signal, which the verifier and test runs heed (signal_pending()). The thread that executes
// requests makes all calls but those that say otherwise.
class Cancellation {
 public:
  // Takes the calling thread for the one that executes requests, and handles the signal.
  // Returns 0 or a negative errno.
  int Prepare();

  // False when the request is not to begin.
  bool Begin(uint32_t id) {
    running_.store(kRunning | id);
    if (abandoned_.load()) {
      End();
      return false;
    }
    return !waiting_.load() || Admit(id);
  }

  // Whether the request that ends here was interrupted. No signal of it comes any later.
  bool End() {
    running_.store(0);
    return signalled_.load() && TakeSignal();
  }

  // The following are for one other thread.

  void Cancel(uint32_t id);
  // Nobody waits for answers any more: interrupts what runs, and lets nothing begin.
  void CancelAll();
  // Whether Urge is to be called after a while.
  [[nodiscard]] bool urging() const { return signalled_.load(); }
  // Interrupts again what runs on: the signal may have come just before its system call.
  void Urge();

 private:
  static constexpr uint64_t kRunning = uint64_t{1} << 32;
  // Ids that were answered before they could be cancelled stay; the oldest go first.
  static constexpr size_t kMaxWaiting = 256;

  bool Admit(uint32_t id);
  bool TakeSignal();
  bool Interrupt(uint64_t running);

  std::atomic<uint64_t> running_{0};
  std::atomic<bool> waiting_{false};
  std::atomic<bool> abandoned_{false};
  std::atomic<bool> signalled_{false};
  std::mutex mutex_;
  std::vector<uint32_t> ids_;
  pid_t thread_ = 0;
};

}  // namespace waep
