// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "../unique_fd.h"

namespace waep {

// A control group for each session, where this process may make groups of cgroup v2, so that the
// kernel itself holds what a session takes of its memory to a bound.
class SessionGroups {
 public:
  SessionGroups() = default;
  SessionGroups(const SessionGroups&) = delete;
  SessionGroups& operator=(const SessionGroups&) = delete;
  // Removes the groups.
  ~SessionGroups();

  // Makes the group that sessions' groups are in, beside which the agent and this process are.
  // `memory_bytes` bounds each session; 0 is for no bound. Returns why there are no groups, or
  // nothing. Before this process has another root.
  std::string Prepare(pid_t agent, uint64_t memory_bytes);

  // Makes a session's group. Does nothing without groups. 0 or a negative errno.
  int Make(uint32_t number);
  // Moves the calling process into a session's group. The same.
  int Enter(uint32_t number) const;
  // Removes a session's group, whose process is gone, and says whether its memory was what ended
  // it.
  bool Remove(uint32_t number);

 private:
  unique_fd base_;      // the group that this process was started in
  unique_fd sessions_;  // below it
  std::string name_;    // of that one
  uint64_t memory_bytes_ = 0;
};

}  // namespace waep
