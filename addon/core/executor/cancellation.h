// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace waep {

// Cancels requests by their ids. A request that has not begun is dropped. A running one is
// interrupted by a signal, which the verifier and test runs check for (signal_pending()). The
// thread that executes requests calls all functions, except where a comment names another thread.
class Cancellation {
 public:
  // Makes the calling thread the one that executes requests, and installs the signal handler.
  // Returns 0 or a negative errno.
  int Prepare();

  // Returns false if the request must not begin.
  bool Begin(uint32_t id) {
    running_.store(kRunning | id);
    if (abandoned_.load()) {
      End();
      return false;
    }
    return !waiting_.load() || Admit(id);
  }

  // Ends a request. Returns whether it was interrupted. Its signal does not arrive later.
  bool End() {
    running_.store(0);
    return signalled_.load() && TakeSignal();
  }

  // Returns whether the running request was interrupted and is to end soon.
  [[nodiscard]] bool interrupted() const { return signalled_.load(); }

  // One other thread calls the following functions.

  void Cancel(uint32_t id);
  // Interrupts the running request and lets no other begin, because nobody waits for answers any
  // more.
  void CancelAll();
  // Returns whether Urge must be called after a while.
  [[nodiscard]] bool urging() const { return signalled_.load(); }
  // Interrupts again, because the signal may have arrived just before the system call.
  void Urge();

 private:
  static constexpr uint64_t kRunning = uint64_t{1} << 32;
  // Ids that were answered before they could be cancelled stay here. The oldest are removed first.
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
