// SPDX-License-Identifier: MIT
#pragma once

namespace waep {

// Takes from this process, with all its threads, the system calls that a server of sockets does not
// need. These calls start programs, change the process's user or place, look into other processes,
// or reach parts of the kernel that are for administrators. They fail with EPERM from then on, for
// ever. New threads can still be made. Returns 0 or a negative errno.
int Restrain();

// Replaces this program by a file that is executed with these arguments, the same environment and
// the same standard streams. In it, and in what it starts, io_uring_setup(2) fails with ENOSYS. It
// does not return then. Returns 0 if that call has failed so before, or a negative errno.
int ExecuteWithoutRings(const char* file, char* const* arguments);

}  // namespace waep
