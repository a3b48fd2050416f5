// SPDX-License-Identifier: MIT
#include "links.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

namespace waep::seccomp {

std::string FollowLink(pid_t thread, const std::string& path, bool last) {
  const std::string root = "/proc/" + std::to_string(thread) + "/root";
  std::string seen = root + path;
  char target[PATH_MAX];
  for (size_t begin = root.size() + 1; begin < seen.size();) {
    size_t end = seen.find('/', begin);
    if (end == std::string::npos) {
      if (!last) break;
      end = seen.size();
    }
    const char next = seen[end];
    seen[end] = '\0';
    const ssize_t length = end == begin ? -1 : ::readlink(seen.c_str(), target, sizeof target);
    const bool is_no_link = end == begin || errno == EINVAL;
    seen[end] = next;
    if (length > 0) {
      const std::string text(target, static_cast<size_t>(length));
      const size_t kept = text[0] == '/' ? 0 : begin - root.size();
      return path.substr(0, kept) + text + path.substr(end - root.size());
    }
    if (!is_no_link) break;
    begin = end + 1;
  }
  return {};
}

}  // namespace waep::seccomp
