// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <string>

namespace waep::seccomp {

// Replaces the first symbolic link in an absolute path, as `thread` sees it, by its target. A link
// at the end of the path counts only if `last` is set or a slash follows. Returns an empty text if
// there is no such link, or if the path does not exist up to one.
std::string FollowLink(pid_t thread, const std::string& path, bool last);

}  // namespace waep::seccomp
