// SPDX-License-Identifier: MIT
#pragma once

// Mounts for an agent and its executors. Each function returns 0 or a negative errno.
namespace waep::mounts {

// Gives the calling thread, and the processes that it starts later, a mount namespace of its own.
// Mounts inside it stay inside. Later mounts of the machine appear in it if the machine shares its
// mounts.
int Leave();

// Mounts a new file system of the type at `place`.
int Mount(const char* type, const char* place);

// Makes the file system at `source` visible at `place` as well.
int Bind(const char* source, const char* place);

}  // namespace waep::mounts
