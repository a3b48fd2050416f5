// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

#include "../unique_fd.h"

namespace waep::seccomp {

struct Mapping {
  uint64_t start = 0;
  uint64_t end = 0;  // the first address behind it
  bool readable = false;
  bool writable = false;
};

// Finds the mapping that an address is in. `maps` is an open /proc/PID/maps. Reading and writing
// /proc/PID/mem ignores these rights.
bool FindMapping(unique_fd maps, uint64_t address, Mapping* found);

}  // namespace waep::seccomp
