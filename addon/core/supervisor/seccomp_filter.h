// SPDX-License-Identifier: MIT
#pragma once

namespace waep::seccomp {

// Installs the filter that passes system calls of an eBPF application to a supervisor. It applies
// to the calling thread, and to every program that the thread executes or starts. Returns the
// listener's descriptor, or a negative errno.
//
// The calling thread's own execve(2) is not passed on if its second argument is `own_arguments`.
//
// It needs Linux 5.19: without SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, a signal would repeat a call
// that the guest has made already.
int Install(const void* own_arguments);

}  // namespace waep::seccomp
