// SPDX-License-Identifier: MIT
#include "links.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "../architecture.h"

namespace waep::seccomp {
namespace {

constexpr int kMostLinks = 40;  // MAXSYMLINKS of linux/namei.h

struct PathArgument {
  size_t index = 0;
  bool last = true;  // whether a link at the end is followed
};

// Finds the path of a call that opens or looks at a file, or returns false.
bool FindPath(const Notification& call, PathArgument* found) {
  const auto& arguments = call.arguments;
  const auto opens = [](uint64_t flags) {
    constexpr uint64_t kAnew = O_CREAT | O_EXCL;
    return (flags & O_NOFOLLOW) == 0 && (flags & kAnew) != kAnew;
  };
  switch (call.number) {
    case SYS_openat:
      *found = {1, opens(arguments[2])};
      return true;
    case SYS_newfstatat:
    case SYS_faccessat2:
      *found = {1, (arguments[3] & AT_SYMLINK_NOFOLLOW) == 0};
      return true;
    case SYS_statx:
      *found = {1, (arguments[2] & AT_SYMLINK_NOFOLLOW) == 0};
      return true;
#ifdef SYS_open  // arm64 has only the calls with a folder.
    case SYS_open:
      *found = {0, opens(arguments[1])};
      return true;
    case SYS_access:
    case SYS_stat:
      *found = {0, true};
      return true;
    case SYS_lstat:
    case SYS_readlink:
      *found = {0, false};
      return true;
#endif
    default:
      return false;
  }
}

// Returns whether a path is absolute, and each of its parts names something.
bool IsPlain(const std::string& path) {
  return !path.empty() && path.front() == '/' && path.find("//") == std::string::npos &&
         path.find("/.") == std::string::npos;
}

}  // namespace

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

bool KernelPaths::IsPassedBy(const Notification& call) const {
  PathArgument argument;
  if (call.architecture != kArchitecture || !FindPath(call, &argument)) return false;
  const auto thread = static_cast<pid_t>(call.thread);
  char text[PATH_MAX];
  const ssize_t length = ReadMemory(thread, call.arguments[argument.index], text, sizeof text);
  if (length <= 0 || ::memchr(text, '\0', static_cast<size_t>(length)) == nullptr) return false;
  std::string path = text;
  for (int links = 0; links < kMostLinks; ++links) {
    if (!IsPlain(path) || Contain(path)) return false;
    std::string next = FollowLink(thread, path, argument.last);
    if (next.empty()) return true;
    path = std::move(next);
  }
  return false;
}

bool KernelPaths::Contain(const std::string& path) const {
  return std::any_of(paths_.begin(), paths_.end(), [&](const std::string& one) {
    return path.compare(0, one.size(), one) == 0 &&
           (path.size() == one.size() || path[one.size()] == '/');
  });
}

}  // namespace waep::seccomp
