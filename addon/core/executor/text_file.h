// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace waep {

// Returns the contents of a file below a folder's descriptor (or AT_FDCWD). It is for files of the
// kernel, whose size is not known before. Returns as much as could be read, and nothing if the file
// cannot be opened.
std::string ReadText(int folder, const char* path);

}  // namespace waep
