// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

namespace waep {

// Opens what names are asked for through, as a descriptor numbered from `first_fd` on. Returns 0 or
// a negative errno. Whoever may open no sockets later calls it before.
int OpenInterfaceNames(int first_fd);

// The name that the network interface with an index has now; empty where there is none.
std::string InterfaceName(uint32_t index);

}  // namespace waep
