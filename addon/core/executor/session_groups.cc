// SPDX-License-Identifier: MIT
#include "session_groups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "text_file.h"

namespace waep {
namespace {

// An executor has three threads.
constexpr const char* kMaxThreads = "8";
constexpr const char* kPrefix = "waep-";
// The group of an agent and its processes, beside the groups of sessions.
constexpr std::string_view kAgent = "waep-agent";
constexpr const char* kControllers = "+memory +pids";

int Write(int folder, const std::string& file, std::string_view text) {
  const unique_fd opened(::openat(folder, file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!opened.valid()) return -errno;
  return ::write(opened.get(), text.data(), text.size()) < 0 ? -errno : 0;
}

bool HasWord(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || text[at - 1] == ' ') &&
        (end == text.size() || text[end] == ' ' || text[end] == '\n')) {
      return true;
    }
  }
  return false;
}

// Returns whether all numbers of a list are among these.
bool AreOnly(const std::string& list, std::initializer_list<pid_t> pids) {
  char* rest = nullptr;
  for (const char* at = list.c_str(); *at != '\0'; at = rest + strspn(rest, "\n")) {
    const long one = strtol(at, &rest, 10);
    if (rest == at || std::find(pids.begin(), pids.end(), one) == pids.end()) return false;
  }
  return true;
}

// The places of cgroup v2: the usual one, and the one of machines that use both versions.
unique_fd OpenHierarchy() {
  for (const char* const place : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    struct statfs about;
    unique_fd folder(::open(place, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (folder.valid() && ::fstatfs(folder.get(), &about) == 0 &&
        about.f_type == CGROUP2_SUPER_MAGIC) {
      return folder;
    }
  }
  return {};
}

// Returns the group of this process in the hierarchy, such as "system.slice/waep.service"; "." at
// the top.
std::string OwnGroup() {
  const std::string groups = ReadText(AT_FDCWD, "/proc/self/cgroup");
  const size_t start = groups.find("0::/");
  if (start == std::string::npos) return ".";
  const size_t first = start + 4;
  std::string path = groups.substr(first, groups.find('\n', first) - first);
  // An agent that has run for a while is there already.
  const size_t name = path.size() - std::min(path.size(), kAgent.size());
  if (path.substr(name) == kAgent && (name == 0 || path[name - 1] == '/')) {
    path.resize(name == 0 ? 0 : name - 1);
  }
  return path.empty() ? "." : path;
}

// Removes groups of keepers that were killed.
void RemoveOthers(int base) {
  DIR* const entries = ::fdopendir(::openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (entries == nullptr) return;
  while (const dirent* const entry = ::readdir(entries)) {
    const std::string name = entry->d_name;
    if (name.rfind(kPrefix, 0) != 0) continue;
    const long pid = strtol(name.c_str() + strlen(kPrefix), nullptr, 10);
    // A group with this process's number is that of an earlier process.
    if (pid <= 0 || (pid != ::getpid() && ::kill(static_cast<pid_t>(pid), 0) == 0)) continue;
    DIR* const sessions =
        ::fdopendir(::openat(base, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    while (const dirent* const one = sessions == nullptr ? nullptr : ::readdir(sessions)) {
      if (one->d_name[0] != '.') ::unlinkat(::dirfd(sessions), one->d_name, AT_REMOVEDIR);
    }
    if (sessions != nullptr) ::closedir(sessions);
    ::unlinkat(base, name.c_str(), AT_REMOVEDIR);
  }
  ::closedir(entries);
}

}  // namespace

std::string SessionGroups::Prepare(pid_t agent, uint64_t memory_bytes) {
  const unique_fd hierarchy = OpenHierarchy();
  if (!hierarchy.valid()) return "no cgroup v2 is mounted at /sys/fs/cgroup";
  const std::string own = OwnGroup();
  base_.reset(::openat(hierarchy.get(), own.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!base_.valid()) return "the agent's own cgroup, /" + own + ", cannot be opened";
  const std::string controllers = ReadText(base_.get(), "cgroup.controllers");
  for (const char* const one : {"memory", "pids"}) {
    if (!HasWord(controllers, one)) {
      return "cgroup v2 has no controller \"" + std::string(one) + "\" here";
    }
  }
  RemoveOthers(base_.get());
  name_ = kPrefix + std::to_string(::getpid());
  // Only the top group may have both processes and controlled groups.
  if (::faccessat(base_.get(), "cgroup.type", F_OK, 0) == 0) {
    if (!AreOnly(ReadText(base_.get(), "cgroup.procs"), {agent, ::getpid()})) {
      return "other processes are in the agent's own cgroup, /" + own +
             "; a service of systemd's with Delegate=yes has one for itself";
    }
    if (::mkdirat(base_.get(), kAgent.data(), 0755) < 0 && errno != EEXIST) {
      return "no cgroup can be made in /" + own + ": " + strerror(errno);
    }
    for (const pid_t pid : {agent, ::getpid()}) {
      const int error =
          Write(base_.get(), std::string(kAgent) + "/cgroup.procs", std::to_string(pid));
      if (error != 0) return "processes cannot be moved below /" + own + ": " + strerror(-error);
    }
  }
  int error = Write(base_.get(), "cgroup.subtree_control", kControllers);
  if (error == 0 && ::mkdirat(base_.get(), name_.c_str(), 0755) < 0) error = -errno;
  if (error == 0) error = Write(base_.get(), name_ + "/cgroup.subtree_control", kControllers);
  if (error != 0) return "no cgroup can be made in /" + own + ": " + strerror(-error);
  sessions_.reset(::openat(base_.get(), name_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  memory_bytes_ = memory_bytes;
  return {};
}

uint64_t SessionGroups::base() const {
  struct stat about;
  return base_.valid() && ::fstat(base_.get(), &about) == 0 ? about.st_ino : 0;
}

int SessionGroups::Make(uint32_t number) {
  if (!sessions_.valid()) return 0;
  const std::string name = std::to_string(number);
  // Whatever has this name already is no session's.
  ::unlinkat(sessions_.get(), name.c_str(), AT_REMOVEDIR);
  if (::mkdirat(sessions_.get(), name.c_str(), 0755) < 0) return -errno;
  const std::string memory = memory_bytes_ == 0 ? "max" : std::to_string(memory_bytes_);
  // Swapped pages would make room for more memory of the kernel. Not every machine has swap.
  if (memory_bytes_ != 0) Write(sessions_.get(), name + "/memory.swap.max", "0");
  const int error = Write(sessions_.get(), name + "/memory.max", memory);
  return error != 0 ? error : Write(sessions_.get(), name + "/pids.max", kMaxThreads);
}

int SessionGroups::Enter(uint32_t number) const {
  if (!sessions_.valid()) return 0;
  return Write(sessions_.get(), std::to_string(number) + "/cgroup.procs", "0");
}

bool SessionGroups::Remove(uint32_t number) {
  if (!sessions_.valid()) return false;
  const std::string name = std::to_string(number);
  const std::string events = ReadText(sessions_.get(), (name + "/memory.events").c_str());
  ::unlinkat(sessions_.get(), name.c_str(), AT_REMOVEDIR);
  const size_t killed = events.find("oom_kill ");
  return killed != std::string::npos && events[killed + strlen("oom_kill ")] != '0';
}

SessionGroups::~SessionGroups() {
  if (sessions_.valid()) ::unlinkat(base_.get(), name_.c_str(), AT_REMOVEDIR);
}

}  // namespace waep
