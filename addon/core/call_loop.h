// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "executor.h"
#include "receive_buffer.h"
#include "sockets.h"

namespace waep {

struct CallLoopStatistics {
  uint64_t frames_in = 0;
  uint64_t frames_out = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

// Takes frames from a blocking stream socket, has them executed and sends the answers, until the
// peer is gone or sends what cannot be skipped.
class CallLoop {
 public:
  // Values of Run's result that are no errno. Anything but a loss is for good.
  enum End : int { kClean = 0, kTruncated = 1, kMalformed = 2, kTooLarge = 3, kEnded = 4 };

  explicit CallLoop(Executor* executor) : executor_(executor) {}

  // Returns 0 or a negative errno. Before Executor::Prepare, which looks at what is mapped.
  int Reserve() { return received_.Reserve(executor_->rules().limits.max_frame_bytes); }

  [[nodiscard]] static bool IsLoss(int end) { return end <= kTruncated; }

  // Serves a connection. Returns an End or a negative errno. What a connection before this one has
  // sent of a frame is forgotten.
  int Run(int fd);

  [[nodiscard]] const CallLoopStatistics& statistics() const { return statistics_; }

 private:
  // Executes every complete frame. Returns kClean to go on.
  int ExecuteComplete();
  int SendAll(const std::vector<iovec>& parts);

  int fd_ = -1;
  bool is_unix_ = false;
  Executor* executor_;
  ReceiveBuffer received_;
  CallLoopStatistics statistics_;
};

}  // namespace waep
