// SPDX-License-Identifier: MIT
#pragma once

#include "rules.h"

namespace waep {

// Leaves this process, with all its threads, only the system calls that an executor needs. A client
// that takes the process over can start no program, open no socket and touch no other process. The
// rules list the allowed requests of ioctl(2). Returns 0 or a negative errno.
int EnterSandbox(const Rules& rules);

}  // namespace waep
