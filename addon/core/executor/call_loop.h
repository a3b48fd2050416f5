// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "../receive_buffer.h"
#include "../sockets.h"
#include "executor.h"

namespace waep {

struct CallLoopStatistics {
  uint64_t frames_in = 0;
  uint64_t frames_out = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

// Receives frames from a blocking stream socket, executes them and sends the answers, until the
// peer is gone or sends a frame that cannot be skipped.
class CallLoop {
 public:
  // Values of Run's result that are no errno. All except a loss end the session.
  enum End : int { kClean = 0, kTruncated = 1, kMalformed = 2, kTooLarge = 3, kEnded = 4 };

  explicit CallLoop(Executor* executor) : executor_(executor) {}

  // Returns 0 or a negative errno. It must be called before Executor::Prepare, which reads the
  // mappings.
  int Reserve() {
    const uint64_t bytes = executor_->rules().limits.max_frame_bytes;
    return received_.Reserve(bytes, bytes <= Limits::kResidentBytes);
  }

  [[nodiscard]] static bool IsLoss(int end) { return end <= kTruncated; }

  // Serves a connection. Returns an End or a negative errno. An incomplete frame of the connection
  // before it is dropped.
  int Run(int fd);

  [[nodiscard]] const CallLoopStatistics& statistics() const { return statistics_; }

 private:
  // Executes every complete frame and sends the answers. Returns kClean to go on.
  int ExecuteComplete();
  // The same, but keeps answers that may wait in held_.
  int Execute();
  // Sends an answer after the waiting ones, unless it may wait as well.
  int Answer(const std::vector<iovec>& answer, bool may_wait);
  // Sends the waiting answers, and `last` after them.
  int SendHeld(const std::vector<iovec>& last);
  int SendAll(const iovec* parts, size_t count);

  int fd_ = -1;
  bool is_unix_ = false;
  Executor* executor_;
  ReceiveBuffer received_;
  // Answers that may wait. Empty whenever there is nothing to execute.
  std::vector<uint8_t> held_;
  std::vector<iovec> parts_;
  CallLoopStatistics statistics_;
};

}  // namespace waep
