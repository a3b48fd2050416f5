// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cbor.h"

namespace waep {

// What the processes that serve sessions keep of the machine, as a policy comes down to it.
struct Confinement {
  uint64_t capabilities = 0;
  // Whether they see all of the machine's files, to read only, for want of a list of them.
  bool whole_root = false;
  std::vector<std::string> readable;  // files, and folders with a slash at their end
  std::vector<std::string> probed;    // files that the kernel looks up to probe them
  std::vector<std::string> pins;      // folders of bpffs, in which files can be made
  // The memory of each session's cgroup at most; 0 for any. Its process and its objects share it.
  uint64_t memory_bytes = 0;

  // Decodes [capabilities, wholeRoot, [readable...], [probed...], [pins...], memoryBytes].
  [[nodiscard]] static bool Decode(cbor::Reader* reader, Confinement* confinement);
};

// What a process gives up, for good. Each function returns 0 or a negative errno.
namespace confine {

// Leaves the calling thread the capabilities of a mask, as far as it has them, and what it executes
// from then on no others. A capability that this kernel is too old for stands for CAP_SYS_ADMIN,
// which it was part of. Before there are other threads.
int KeepCapabilities(uint64_t capabilities);

// Takes all capabilities from all threads of this process.
int DropCapabilitiesOfAllThreads();

// For this process, all threads of it, and what it starts: no new privileges, and EPERM for system
// calls that neither the agent nor an executor has a use for (confinement.cc lists them).
// `calls_kernel` says whether bpf(2), perf_event_open(2) and execve(2) are left.
int RefuseSystemCalls(bool calls_kernel);

// Has this thread, and what it starts, write to no file and make or remove none, where the kernel
// has Landlock; `pins` says whether files may be made.
int RefuseFileChanges(bool pins);

// Moves this process into a mount namespace of its own, with a root that holds what the confinement
// lists, to read only, and the folders for pins. `*program` is the path of what is to be executed
// there, and becomes where that is. -EPERM where it may not have a namespace.
int EnterRoot(const Confinement& confinement, std::string* program);

}  // namespace confine
}  // namespace waep
