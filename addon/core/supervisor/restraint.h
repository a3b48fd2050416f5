// SPDX-License-Identifier: MIT
#pragma once

namespace waep {

// Takes from this process, with all its threads, the system calls that a server of sockets does not
// need. These calls start programs, change the process's user or place, look into other processes,
// or reach parts of the kernel that are for administrators. They fail with EPERM from then on, for
// ever. New threads can still be made. Returns 0 or a negative errno.
int Restrain();

// Makes io_uring_setup(2) fail with ENOSYS in this process and in what it starts. Threads that are
// there keep it. Returns 1, or 0 if it has failed so before, or a negative errno.
int RefuseRings();

// execve(2) with the same environment and the same standard streams. Returns a negative errno, or
// not at all.
int Execute(const char* file, char* const* arguments);

}  // namespace waep
