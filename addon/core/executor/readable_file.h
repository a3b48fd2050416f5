// SPDX-License-Identifier: MIT
#pragma once

#include <limits.h>

#include "../unique_fd.h"

namespace waep {

// OpenReadable's result for files that it never opens. It is no errno.
constexpr int kNotReadable = INT_MIN;

// Opens a file or a folder for reading, if that has no effect. Some files of the kernel have one:
// closing tracefs' free_buffer frees buffers. Returns a descriptor, a negative errno or
// kNotReadable.
//
// It follows links. Of the magic links of /proc (RESOLVE_NO_MAGICLINKS) it follows only those to
// namespaces, and `exe` and `root` of a process to files that every user may read and that are not
// the kernel's. These are not readable:
//
//  - anything that is neither a file nor a folder;
//  - files of tracefs, unless they are known to do nothing when they are opened, read and closed,
//    and no link leads to them;
//  - files of the kernel that nobody may read;
//  - other files that not every user may read, or in folders that not every user may enter, unless
//    the policy `names` the file itself.
int OpenReadable(const char* path, bool names);

// Finds a file of any kind without opening it, as a descriptor with O_PATH. With `follow` it
// follows a link at the end of the path. Returns 0, a negative errno or kNotReadable. It follows
// the same magic links of /proc as above, and does not enter folders that not every user may enter.
int FindReadable(const char* path, bool names, bool follow, unique_fd* found);

// Opens a folder to list it, by the same rules.
int OpenFolder(const char* path, bool names);

}  // namespace waep
