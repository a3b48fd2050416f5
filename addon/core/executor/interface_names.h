// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

namespace waep {

// Opens the socket that is asked for names, as a descriptor numbered from `first_fd` on. Returns 0
// or a negative errno. A process that later may not open sockets must call it before.
int OpenInterfaceNames(int first_fd);

// Returns the present name of the network interface with an index, or an empty text if there is
// none.
std::string InterfaceName(uint32_t index);

}  // namespace waep
