// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cbor.h"

namespace waep {

// The parts of the machine that the processes of sessions may use under a policy.
struct Confinement {
  uint64_t capabilities = 0;
  // Whether sessions see all files of the machine, read-only, because the policy lists none.
  bool whole_root = false;
  std::vector<std::string> readable;  // files, and folders with a slash at their end
  std::vector<std::string> probed;    // files that the kernel looks up to probe them
  std::vector<std::string> pins;      // folders of bpffs, in which files can be made
  std::vector<std::string> cgroups;   // folders in which cgroups can be made
  // The bound on the memory of each session's cgroup, for its process and its objects; 0 for none.
  uint64_t memory_bytes = 0;

  // Decodes [capabilities, wholeRoot, [readable...], [probed...], [pins...], [cgroups...],
  // memoryBytes].
  [[nodiscard]] static bool Decode(cbor::Reader* reader, Confinement* confinement);
};

// Functions by which a process gives up rights for ever. Each returns 0 or a negative errno.
namespace confine {

// Drops all capabilities of the calling thread except those of a mask. Programs that it executes
// later have no others either. A capability that this kernel is too old for stands for
// CAP_SYS_ADMIN, which included it. It must be called before there are other threads.
int KeepCapabilities(uint64_t capabilities);

// Drops all capabilities of all threads of this process.
int DropCapabilitiesOfAllThreads();

// For this process, its threads and its children: forbids new privileges, and makes system calls
// that neither the agent nor an executor needs fail with EPERM (confinement.cc lists them).
// `calls_kernel` says whether bpf(2), perf_event_open(2) and execve(2) stay allowed.
int RefuseSystemCalls(bool calls_kernel);

// Forbids this thread, and programs that it starts, to write, make or remove files, if the kernel
// has Landlock. With `in_mounts` they may make and remove files where the mounts allow it.
int RefuseFileChanges(bool in_mounts);

// Moves this process into a mount namespace of its own. Its root holds the paths of the
// confinement, read-only, and the folders for pins and cgroups. `*program` is the path of the
// program to execute there, and becomes its path in that root. Returns -EPERM if the process may
// not make a namespace.
int EnterRoot(const Confinement& confinement, std::string* program);

}  // namespace confine
}  // namespace waep
