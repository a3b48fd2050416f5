// SPDX-License-Identifier: MIT
#pragma once

#include "rules.h"

namespace waep {

// Leaves this process, all threads of it, the system calls that an executor lives on. Whatever a
// client might make of it, it can neither start a program, nor open a socket, nor touch another
// process. Of ioctl(2) it has the requests that the rules list. Returns 0 or a negative errno.
int EnterSandbox(const Rules& rules);

}  // namespace waep
