// SPDX-License-Identifier: MIT
#pragma once

// What an agent mounts for itself and its executors. Each function returns 0 or a negative errno.
namespace waep::mounts {

// Gives the calling thread, and what it starts from then on, a mount namespace of its own. What is
// mounted in it stays in it; what the machine mounts later still arrives where the machine shares
// its mounts.
int Leave();

// Mounts a new file system of the type at `place`.
int Mount(const char* type, const char* place);

// Shows at `place` what is mounted at `source`.
int Bind(const char* source, const char* place);

}  // namespace waep::mounts
