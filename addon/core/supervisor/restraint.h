// SPDX-License-Identifier: MIT
#pragma once

namespace waep {

// Takes from this process, with all its threads, the system calls that a server of sockets does not
// need. These calls start programs, change the process's user or place, look into other processes,
// or reach parts of the kernel that are for administrators. They fail with EPERM from then on, for
// ever. New threads can still be made. Returns 0 or a negative errno.
int Restrain();

}  // namespace waep
