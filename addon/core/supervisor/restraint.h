// SPDX-License-Identifier: MIT
#pragma once

namespace waep {

// Takes from this process, all threads of it, the system calls that a server of sockets has no use
// for: those that start programs, change who or where a process is, look into other processes, or
// reach parts of the kernel that are for administrators. They fail with EPERM; threads can still be
// made. A way back there is none. Returns 0 or a negative errno.
int Restrain();

}  // namespace waep
