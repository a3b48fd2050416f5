// SPDX-License-Identifier: MIT
#include "readable_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

#include "../unique_fd.h"

namespace waep {
namespace {

int Open(const char* path, uint64_t flags, uint64_t resolve, int from = AT_FDCWD) {
  open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  const long fd = ::syscall(SYS_openat2, from, path, &how, sizeof how);
  return fd < 0 ? -errno : static_cast<int>(fd);
}

// Opening and closing these files changes nothing. Records that are read from a pipe are gone for
// its other readers, as with every pipe.
constexpr std::string_view kTraceFiles[] = {
    // below events/
    "enable", "filter", "format", "header_event", "header_page", "hist", "id", "trigger",
    // of the whole, an instance or a processor
    "README", "available_events", "available_filter_functions", "available_filter_functions_addrs",
    "available_tracers", "buffer_percent", "buffer_size_kb", "buffer_subbuf_size_kb",
    "buffer_total_size_kb", "current_tracer", "dynamic_events", "dyn_ftrace_total_info",
    "enabled_functions", "entries", "error_log", "eval_map", "kprobe_events", "kprobe_profile",
    "max_graph_depth", "printk_formats", "saved_cmdlines", "saved_cmdlines_size", "saved_tgids",
    "set_event", "set_event_notrace_pid", "set_event_pid", "set_ftrace_filter",
    "set_ftrace_notrace", "set_ftrace_notrace_pid", "set_ftrace_pid", "set_graph_function",
    "set_graph_notrace", "stats", "synthetic_events", "timestamp_mode", "touched_functions",
    "trace", "trace_clock", "trace_options", "trace_pipe", "tracing_cpumask", "tracing_max_latency",
    "tracing_on", "tracing_thresh", "uprobe_events", "uprobe_profile", "user_events_status"};

// Removes the last part of a path.
std::string_view TakePart(std::string_view* path) {
  const size_t slash = path->rfind('/');
  const std::string_view part = path->substr(slash + 1);
  *path = path->substr(0, slash == std::string_view::npos ? 0 : slash);
  return part;
}

bool IsTraceFile(std::string_view path) {
  const std::string_view name = TakePart(&path);
  // Each of these files holds yes or no, whatever its name is. An instance may have any name.
  if (TakePart(&path) == "options" && TakePart(&path) != "instances") return true;
  return std::find(std::begin(kTraceFiles), std::end(kTraceFiles), name) != std::end(kTraceFiles);
}

// File systems in which the kernel describes itself. Their files belong to root, even if everybody
// may read them.
bool IsOfKernel(long type) {
  constexpr long kTypes[] = {PROC_SUPER_MAGIC,   SYSFS_MAGIC,         TRACEFS_MAGIC,
                             DEBUGFS_MAGIC,      SECURITYFS_MAGIC,    BPF_FS_MAGIC,
                             CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, NSFS_MAGIC};
  return std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
}

// Returns whether every user may enter all folders of the path, from the one that ends at `slash`.
bool EverybodyEnters(const std::string& path, size_t slash, uint64_t resolve) {
  for (; slash != std::string::npos; slash = path.find('/', slash + 1)) {
    const unique_fd folder(Open(path.substr(0, slash).c_str(), O_PATH, resolve));
    struct stat about;
    if (!folder.valid() || ::fstat(folder.get(), &about) < 0) return false;
    if ((about.st_mode & S_IXOTH) == 0) return false;
  }
  return true;
}

// Returns whether every user may enter all folders in which a file really is. A symbolic link on
// the way to it may have led past folders that not everybody may enter.
bool EverybodyReaches(int found) {
  char real[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(found);
  const ssize_t size = ::readlinkat(AT_FDCWD, link.c_str(), real, sizeof real);
  if (size <= 0 || size == sizeof real || real[0] != '/') return false;
  const std::string path(real, static_cast<size_t>(size));
  return EverybodyEnters(path, path.find('/', 1), RESOLVE_NO_MAGICLINKS);
}

// Checks a file that was found and is not yet opened for reading. Returns 0, kNotReadable or a
// negative errno.
int Judge(int found, const char* path, bool names, const struct stat& about) {
  struct statfs system;
  if (::fstatfs(found, &system) < 0) return -errno;
  if (!S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode)) return kNotReadable;
  if (system.f_type == TRACEFS_MAGIC && S_ISREG(about.st_mode)) {
    const unique_fd direct(Open(path, O_PATH, RESOLVE_NO_SYMLINKS));
    if (!direct.valid() || !IsTraceFile(path)) return kNotReadable;
  }
  const size_t first = std::string_view(path).find('/', 1);
  bool may =
      names || ((about.st_mode & S_IROTH) != 0 &&
                EverybodyEnters(path, first, RESOLVE_NO_MAGICLINKS) && EverybodyReaches(found));
  if (IsOfKernel(system.f_type)) may = (about.st_mode & (S_IRUSR | S_IRGRP | S_IROTH)) != 0;
  return may ? 0 : kNotReadable;
}

bool IsNamespace(int fd) {
  struct statfs system;
  return ::fstatfs(fd, &system) == 0 && system.f_type == NSFS_MAGIC;
}

// Returns whether the path is that of a process's program or root, which tools use to look up
// symbols. It gives access only to files that every user may read. The kernel's own files have
// other paths.
bool IsOfProcess(int fd, const std::string& path) {
  constexpr std::string_view kProc = "/proc/";
  if (path.compare(0, kProc.size(), kProc) != 0) return false;
  const size_t end = path.find_first_not_of("0123456789", kProc.size());
  if (end == kProc.size() || end == std::string::npos) return false;
  const std::string rest = path.substr(end);
  if (rest != "/exe" && rest.compare(0, 6, "/root/") != 0) return false;
  struct stat about;
  struct statfs system;
  if (::fstat(fd, &about) < 0 || ::fstatfs(fd, &system) < 0) return false;
  if (!S_ISREG(about.st_mode) || (about.st_mode & S_IROTH) == 0) return false;
  if (IsOfKernel(system.f_type)) return false;
  // Only the owner may enter the process's folder in /proc, so the check begins at its root.
  return rest == "/exe" || EverybodyEnters(path, end + std::string_view("/root").size(), 0);
}

// Returns whether a file is the kernel's, or can be reached by every user.
int MayBeFound(int found, const char* path, bool names) {
  struct statfs system;
  if (::fstatfs(found, &system) < 0) return -errno;
  const size_t first = std::string_view(path).find('/', 1);
  const bool may = names || IsOfKernel(system.f_type) ||
                   (EverybodyEnters(path, first, RESOLVE_NO_MAGICLINKS) && EverybodyReaches(found));
  return may ? 0 : kNotReadable;
}

}  // namespace

int OpenReadable(const char* path, bool names) {
  uint64_t resolve = RESOLVE_NO_MAGICLINKS;
  int result = Open(path, O_PATH, resolve);
  const bool leads_away = result == -ELOOP;
  if (leads_away) {
    resolve = 0;
    result = Open(path, O_PATH, resolve);
  }
  if (result < 0) return result;
  const unique_fd found(result);
  const bool of_process = leads_away && IsOfProcess(found.get(), path);
  if (leads_away && !of_process && !IsNamespace(found.get())) return kNotReadable;
  struct stat judged;
  if (::fstat(found.get(), &judged) < 0) return -errno;
  result = of_process ? 0 : Judge(found.get(), path, names, judged);
  if (result != 0) return result;
  unique_fd opened;
  result = Open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, resolve);
  if (result < 0) return result;
  opened.reset(result);
  // Another file may have replaced the one that was checked.
  struct stat about;
  if (::fstat(opened.get(), &about) < 0) return -errno;
  if (about.st_dev != judged.st_dev || about.st_ino != judged.st_ino) return -EAGAIN;
  return opened.release();
}

int FindReadable(const char* path, bool names, bool follow, unique_fd* found) {
  const uint64_t flags = O_PATH | (follow ? 0 : O_NOFOLLOW);
  int result = Open(path, flags, RESOLVE_NO_MAGICLINKS);
  const bool leads_away = result == -ELOOP;
  if (leads_away) result = Open(path, flags, 0);
  if (result < 0) return result;
  found->reset(result);
  if (!leads_away) return MayBeFound(result, path, names);
  return IsOfProcess(result, path) || IsNamespace(result) ? 0 : kNotReadable;
}

int OpenFolder(const char* path, bool names) {
  unique_fd found;
  const int result = FindReadable(path, names, true, &found);
  if (result != 0) return result;
  struct stat judged;
  if (::fstat(found.get(), &judged) < 0) return -errno;
  if (!S_ISDIR(judged.st_mode)) return -ENOTDIR;
  const int judgement = Judge(found.get(), path, names, judged);
  if (judgement != 0) return judgement;
  return Open(".", O_RDONLY | O_DIRECTORY, 0, found.get());
}

}  // namespace waep
