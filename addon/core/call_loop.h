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
  // Values of Run's result that are no errno.
  enum End : int { kClean = 0, kTruncated = 1, kMalformed = 2, kTooLarge = 3 };

  CallLoop(int fd, Executor* executor)
      : fd_(fd), is_unix_(sockets::IsUnix(fd)), executor_(executor) {}

  // Returns 0 or a negative errno. Before Executor::Prepare, which looks at what is mapped.
  int Reserve() { return received_.Reserve(executor_->rules().limits.max_frame_bytes); }

  // Returns an End or a negative errno.
  int Run();

  [[nodiscard]] const CallLoopStatistics& statistics() const { return statistics_; }

 private:
  // Executes every complete frame. Returns kClean to go on.
  int ExecuteComplete();
  int SendAll(const std::vector<iovec>& parts);

  int fd_;
  bool is_unix_;
  Executor* executor_;
  ReceiveBuffer received_;
  CallLoopStatistics statistics_;
};

}  // namespace waep
