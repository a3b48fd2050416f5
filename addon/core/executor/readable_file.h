// SPDX-License-Identifier: MIT
#pragma once

#include <limits.h>

#include "../unique_fd.h"

namespace waep {

// What OpenReadable returns of files that it opens for nobody. No errno is that.
constexpr int kNotReadable = INT_MIN;

// Opens a file for reading, or a folder, and has no effect by that, which not all files of the
// kernel promise: closing tracefs' free_buffer frees buffers. Returns a descriptor, a negative
// errno or kNotReadable.
//
// It follows links, but of those of /proc that lead anywhere (RESOLVE_NO_MAGICLINKS) only the ones
// to namespaces, and `exe` and `root` of a process to files that every user may read and that are
// not the kernel's. Not readable are: what is neither file nor folder; files of tracefs that are
// not known to do nothing when they are opened, read and closed, or that a link leads to; the
// kernel's files that nobody may read; and of all others those that not every user may read, or in
// folders that not every user may enter, unless the policy `names` the file itself.
int OpenReadable(const char* path, bool names);

// Finds what may be looked at without being opened, whatever it is: a descriptor with O_PATH. A
// path that ends at a link is that of the link unless it is to `follow` it. Returns 0, a negative
// errno or kNotReadable: of links of /proc that lead anywhere the same are followed, and folders
// that not every user may enter are left alone.
int FindReadable(const char* path, bool names, bool follow, unique_fd* found);

// Opens a folder to be listed, of which the same is true.
int OpenFolder(const char* path, bool names);

}  // namespace waep
