// SPDX-License-Identifier: MIT
#include "launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "../sockets.h"
#include "seccomp_filter.h"

namespace waep {
namespace {

int Die(const char* what, const char* name, int error) {
  fprintf(stderr, "waep: %s%s%s: %s\n", what, name[0] == '\0' ? "" : " ", name, strerror(-error));
  return 125;
}

constexpr long long kSecond = 1000000000;

long long ClockNs(clockid_t clock) {
  timespec now = {};
  ::clock_gettime(clock, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

// Whoever cannot have clocks of their own goes by this machine's.
void ShiftClocks(long long ahead_ns) {
  // Since it began this machine may have slept, and the other one has not.
  const long long slept_ns = ClockNs(CLOCK_BOOTTIME) - ClockNs(CLOCK_MONOTONIC);
  if (::unshare(CLONE_NEWTIME) < 0) return;
  char text[128];
  int length = 0;
  const struct {
    const char* name;
    long long ns;
  } clocks[] = {{"monotonic", ahead_ns}, {"boottime", ahead_ns - slept_ns}};
  for (const auto& [name, ns] : clocks) {
    // Nanoseconds are never negative.
    const long long seconds = ns / kSecond - (ns % kSecond < 0);
    length += ::snprintf(text + length, sizeof text - static_cast<size_t>(length), "%s %lld %lld\n",
                         name, seconds, ns - seconds * kSecond);
  }
  const int offsets = ::open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
  const bool set = ::write(offsets, text, static_cast<size_t>(length)) == length;
  ::close(offsets);
  const int own = ::open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
  if (set) ::setns(own, CLONE_NEWTIME);
  ::close(own);
}

// Sends one message, with a copy of `descriptor` unless that is negative.
int HandOver(int control, int descriptor) {
  char byte = 0;
  const iovec part = {&byte, 1};
  return static_cast<int>(sockets::SendMessage(control, &part, 1, descriptor, 0));
}

// What a program may still do once its calls are answered no more, and once it is told to end.
constexpr int kGraceMs = 5000;

pid_t ParentOf(pid_t pid) {
  char path[32];
  ::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  char text[512];
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t got = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (got <= 0) return -1;
  text[got] = '\0';
  // The name before it may have blanks and parentheses.
  const char* const name_end = ::strrchr(text, ')');
  pid_t parent = -1;
  return name_end != nullptr && ::sscanf(name_end, ") %*c %d", &parent) == 1 ? parent : -1;
}

// A process and all that it has started, as far as they can be told apart from others yet.
std::vector<pid_t> TreeOf(pid_t root) {
  std::vector<std::pair<pid_t, pid_t>> all;
  if (DIR* const folder = ::opendir("/proc")) {
    while (const dirent* const entry = ::readdir(folder)) {
      const auto pid = static_cast<pid_t>(::strtol(entry->d_name, nullptr, 10));
      if (pid > 0) all.emplace_back(pid, ParentOf(pid));
    }
    ::closedir(folder);
  }
  std::vector<pid_t> tree = {root};
  for (size_t i = 0; i < tree.size(); ++i) {
    for (const auto& [pid, parent] : all) {
      if (parent == tree[i]) tree.push_back(pid);
    }
  }
  return tree;
}

// Ends a program and what it has started, politely at first. `program` is its pidfd.
void EndProgram(pid_t pid, int program) {
  pollfd end = {program, POLLIN, 0};
  for (const int signal : {SIGTERM, SIGKILL}) {
    if (::poll(&end, 1, kGraceMs) != 0) return;
    const std::vector<pid_t> tree = TreeOf(pid);
    // First of all itself, which would go on when what it has started ends.
    ::syscall(SYS_pidfd_send_signal, program, signal, nullptr, 0);
    for (const pid_t one : tree) {
      if (one != pid) ::kill(one, signal);
    }
  }
}

// Leaves somebody behind who ends the program when its calls are answered no more: it waits for
// what will never be, and cannot know. The supervisor says that it has told why by shutting its end
// of `control` down; when it is gone without, that is told here.
void LeaveWatcher(int control, const char* name) {
  const pid_t pid = ::getpid();
  const auto program = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  const pid_t child = program < 0 ? -1 : ::fork();
  if (child > 0) ::waitpid(child, nullptr, 0);
  if (child != 0) {
    if (program >= 0) ::close(program);
    return;
  }
  // No child of the program's, which may wait for its own, and not in the foreground.
  if (::fork() != 0) ::_exit(0);
  ::setsid();
  ::dup2(control, STDIN_FILENO);
  ::dup2(program, STDOUT_FILENO);
  ::syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0);
  pollfd ends[] = {{STDOUT_FILENO, POLLIN, 0}, {STDIN_FILENO, POLLRDHUP, 0}};
  while (::poll(ends, 2, -1) < 0 && errno == EINTR) {
  }
  // A program that is about to end may still be on its way, when who answers has seen its end.
  constexpr int kEndsWithinMs = 1000;
  if (ends[0].revents == 0 && ::poll(ends, 1, kEndsWithinMs) == 0) {
    if ((ends[1].revents & POLLHUP) != 0) {
      ::dprintf(STDERR_FILENO,
                "waep: what answers for %s has ended; its calls fail with ENOSYS from here on, and "
                "it is ended in %d s\n",
                name, kGraceMs / 1000);
    }
    EndProgram(pid, STDOUT_FILENO);
  }
  ::_exit(0);
}

}  // namespace

int Exec(char** program, const Surroundings& surroundings, int control) {
  ShiftClocks(surroundings.clock_ahead_ns);
  // The filter lets nobody change it afterwards.
  const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  ::setrlimit(RLIMIT_MEMLOCK, &unlimited);
  // Who may not have a namespace may not mount anything either, outside of it or in it.
  const bool apart = ::unshare(CLONE_NEWNS) == 0;
  if (!apart && !surroundings.binds.empty()) {
    return Die("making a mount namespace", "", -errno);
  }
  if (apart) {
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) {
      return Die("making mounts private", "", -errno);
    }
    // Programs look for a bpf file system before they pin, and mount one where there is none. This
    // one is empty and theirs alone: what they pin goes to the guest's.
    ::mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr);
    // What is not answered in the guest's place, such as a program that is executed by a path in
    // it, is not to find this machine's tracing files.
    if (::mount("waep", "/sys/kernel/tracing", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV,
                "mode=755,size=64k") == 0) {
      // The other name of the host's files, where debugfs is mounted.
      ::mount("/sys/kernel/tracing", "/sys/kernel/debug/tracing", nullptr, MS_BIND, nullptr);
    }
  }
  for (const auto& [source, target] : surroundings.binds) {
    if (::mount(source, target, nullptr, MS_BIND | MS_REC, nullptr) < 0) {
      return Die("binding a file of the guest over", target, -errno);
    }
  }
  // Before the filter, whose end is told when the last process is gone that has it.
  LeaveWatcher(control, program[0]);
  const int listener = seccomp::Install();
  if (listener < 0) {
    return Die(listener == -EINVAL ? "installing the seccomp filter (it needs Linux 5.19)"
                                   : "installing the seccomp filter",
               "", listener);
  }
  const int sent = HandOver(control, listener);
  if (sent < 0) return Die("handing over the listener", "", sent);
  char byte = 0;
  if (::read(control, &byte, 1) != 1) return Die("waiting for the supervisor", "", -ECONNRESET);
  ::close(listener);
  ::close(control);
  ::execvp(program[0], program);
  const int error = errno;
  fprintf(stderr, "waep: %s: %s\n", program[0], strerror(error));
  return error == ENOENT ? 127 : 126;
}

}  // namespace waep
