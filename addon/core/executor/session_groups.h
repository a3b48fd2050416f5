// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "../unique_fd.h"

namespace waep {

// A control group for each session, if this process may make groups of cgroup v2. The kernel then
// bounds the memory of a session.
class SessionGroups {
 public:
  SessionGroups() = default;
  SessionGroups(const SessionGroups&) = delete;
  SessionGroups& operator=(const SessionGroups&) = delete;
  // Removes the groups.
  ~SessionGroups();

  // Makes the parent group of the sessions' groups, and another one for the agent and this process.
  // `memory_bytes` bounds each session; 0 means no bound. Returns why there are no groups, or
  // nothing. It must be called before this process changes its root.
  std::string Prepare(pid_t agent, uint64_t memory_bytes);

  // Returns the inode number of the group that the agent was started in, or 0 if there is none.
  [[nodiscard]] uint64_t base() const;

  // Makes a session's group. Does nothing without groups. Returns 0 or a negative errno.
  int Make(uint32_t number);
  // Moves the calling process into a session's group. Does nothing without groups. Returns 0 or a
  // negative errno.
  int Enter(uint32_t number) const;
  // Removes the group of a session whose process is gone. Returns whether the process was ended for
  // its memory.
  bool Remove(uint32_t number);

 private:
  unique_fd base_;      // the group that the agent was started in
  unique_fd sessions_;  // below base_
  std::string name_;    // the name of sessions_
  uint64_t memory_bytes_ = 0;
};

}  // namespace waep
