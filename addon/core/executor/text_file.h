// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace waep {

// What a file holds that is below a folder's descriptor (or AT_FDCWD): such as the kernel writes of
// itself, whose sizes are not told before. As much as could be read; nothing where it cannot be
// opened.
std::string ReadText(int folder, const char* path);

}  // namespace waep
