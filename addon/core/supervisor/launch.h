// SPDX-License-Identifier: MIT
#pragma once

#include <utility>
#include <vector>

namespace waep {

// What a program sees in the place of what this machine has.
struct Surroundings {
  // How far its monotonic clock is ahead of this machine's.
  long long clock_ahead_ns = 0;
  // Files and folders, each bound over another: source, target.
  std::vector<std::pair<const char*, const char*>> binds;
};

// Becomes a program whose eBPF calls somebody else answers.
//
// In a mount namespace of its own this process mounts an empty bpf file system, an empty one in the
// place of the tracing file system, and binds files over others; in a time namespace of its own, if
// it may have one, the monotonic clock is shifted, and the clock since boot is the same. It lifts
// the limit on locked memory if it may. Then it installs the filter (seccomp_filter.h), waits for
// one byte over the Unix socket `control`, and executes the program. Before that byte it sends
// one message with the listener.
//
// When `control` ends or is shut down at its other end, the program is told by SIGTERM after a few
// seconds, and ended by SIGKILL after some more: nobody answers its calls any more.
//
// Returns only when it cannot, having said why on standard error: 125, or 126 or 127 as env(1)
// does.
int Exec(char** program, const Surroundings& surroundings, int control);

}  // namespace waep
