// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "seccomp_listener.h"

namespace waep::seccomp {

// Replaces the first symbolic link in an absolute path, as `thread` sees it, by its target. A link
// at the end of the path counts only if `last` is set or a slash follows. Returns an empty text if
// there is no such link, or if the path does not exist up to one.
std::string FollowLink(pid_t thread, const std::string& path, bool last);

// The paths below which the supervisor answers calls itself.
class KernelPaths {
 public:
  explicit KernelPaths(std::vector<std::string> paths) : paths_(std::move(paths)) {}

  // Returns whether a call opens or looks at a file by a path that certainly leads past all of
  // them. Most files that a program opens are its libraries. Relative paths and those with `..` are
  // left to the supervisor.
  [[nodiscard]] bool IsPassedBy(const Notification& call) const;

 private:
  [[nodiscard]] bool Contain(const std::string& path) const;

  std::vector<std::string> paths_;
};

}  // namespace waep::seccomp
