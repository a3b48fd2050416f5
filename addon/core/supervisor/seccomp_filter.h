// SPDX-License-Identifier: MIT
#pragma once

namespace waep::seccomp {

// Installs the filter that hands the system calls of an eBPF application to a supervisor, for the
// calling thread and everything it becomes or starts. Returns the listener's descriptor, or a
// negative errno.
//
// Needs Linux 5.19: without SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV a signal would have a call made
// again that the guest has made already.
int Install();

}  // namespace waep::seccomp
