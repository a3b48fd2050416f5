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

#include <string>
#include <utility>
#include <vector>

#include "../sockets.h"
#include "seccomp_filter.h"

namespace waep {
namespace {

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    char escape[8];
    ::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned char>(c));
    const bool plain = static_cast<unsigned char>(c) >= ' ' && c != '"' && c != '\\';
    quoted += plain ? std::string(1, c) : escape;
  }
  return quoted + '"';
}

void Tell(const Messages& to, const std::string& text) {
  if (to.address == nullptr) {
    ::dprintf(to.descriptor, "waep: %s\n", text.c_str());
  } else {
    ::dprintf(to.descriptor,
              R"({"waep":"error","address":%s,"message":%s})"
              "\n",
              Quoted(to.address).c_str(), Quoted(text).c_str());
  }
}

int Die(const Messages& to, const std::string& what, int error) {
  Tell(to, what + ": " + ::strerror(-error));
  return 125;
}

constexpr long long kSecond = 1000000000;

long long ClockNs(clockid_t clock) {
  timespec now = {};
  ::clock_gettime(clock, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

// If there can be no time namespace, the program has this machine's clocks.
void ShiftClocks(long long ahead_ns) {
  // This machine may have been suspended since its boot, and the guest has not.
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

// How long a program may go on after its calls are no longer answered, and after SIGTERM.
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
  // The name before it may contain spaces and parentheses.
  const char* const name_end = ::strrchr(text, ')');
  pid_t parent = -1;
  return name_end != nullptr && ::sscanf(name_end, ") %*c %d", &parent) == 1 ? parent : -1;
}

// Finds a process and everything that it has started, as far as its descendants can still be found.
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

// Ends a program and everything that it has started, first by SIGTERM. `program` is its pidfd.
void EndProgram(pid_t pid, int program) {
  pollfd end = {program, POLLIN, 0};
  for (const int signal : {SIGTERM, SIGKILL}) {
    if (::poll(&end, 1, kGraceMs) != 0) return;
    const std::vector<pid_t> tree = TreeOf(pid);
    // The program first, because it would go on when its children end.
    ::syscall(SYS_pidfd_send_signal, program, signal, nullptr, 0);
    for (const pid_t one : tree) {
      if (one != pid) ::kill(one, signal);
    }
  }
}

// Waits in a process of its own until the program or its supervisor ends. `program` is the
// program's pidfd.
[[noreturn]] void Watch(pid_t pid, int program, int control, const Messages& messages,
                        const char* name) {
  // Not in the foreground.
  ::setsid();
  // Nobody may be left to read what it prints.
  ::signal(SIGPIPE, SIG_IGN);
  ::dup2(control, STDIN_FILENO);
  ::dup2(program, STDOUT_FILENO);
  ::dup2(messages.descriptor, STDERR_FILENO);
  ::syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, 0);
  pollfd ends[] = {{STDOUT_FILENO, POLLIN, 0}, {STDIN_FILENO, POLLRDHUP, 0}};
  while (::poll(ends, 2, -1) < 0 && errno == EINTR) {
  }
  // A program may still be ending when the supervisor has already seen its end.
  constexpr int kEndsWithinMs = 1000;
  if (ends[0].revents == 0 && ::poll(ends, 1, kEndsWithinMs) == 0) {
    if ((ends[1].revents & POLLHUP) != 0) {
      Tell({STDERR_FILENO, messages.address},
           std::string("what answers for ") + name +
               " has ended; its calls fail with ENOSYS from here on, and it is ended in " +
               std::to_string(kGraceMs / 1000) + " s");
    }
    EndProgram(pid, STDOUT_FILENO);
  }
  ::_exit(0);
}

}  // namespace

pid_t StartWatcher(int control, const Messages& messages, const char* name) {
  const pid_t pid = ::getpid();
  const auto program = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (program < 0) {
    Die(messages, "watching the program", -errno);
    return -1;
  }
  // Not a child of the program, which may wait for its children. This process waits until its child
  // has made the watcher, and they share their memory until then.
  volatile pid_t watcher = -1;
  const pid_t child = ::vfork();
  if (child == 0) {
    watcher = ::fork();
    if (watcher != 0) ::_exit(watcher > 0 ? 0 : errno);
    Watch(pid, program, control, messages, name);
  }
  int error = child < 0 ? errno : 0;
  if (child > 0) {
    int status = 0;
    ::waitpid(child, &status, 0);
    error = WEXITSTATUS(status);
  }
  ::close(program);
  if (error != 0) Die(messages, "starting the process that ends the program", -error);
  return watcher;
}

int Exec(char** program, const Surroundings& surroundings, const Messages& messages, int control) {
  // The program must not have it.
  if (messages.descriptor != STDERR_FILENO) ::fcntl(messages.descriptor, F_SETFD, FD_CLOEXEC);
  ShiftClocks(surroundings.clock_ahead_ns);
  // After the filter is installed, it cannot be changed.
  const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  ::setrlimit(RLIMIT_MEMLOCK, &unlimited);
  // Without the right to make a namespace, this process may not mount anything either.
  const bool apart = ::unshare(CLONE_NEWNS) == 0;
  if (!apart && !surroundings.binds.empty()) {
    return Die(messages, "making a mount namespace", -errno);
  }
  if (apart) {
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) {
      return Die(messages, "making mounts private", -errno);
    }
    // Programs look for a bpf file system before they pin, and mount one if there is none. This one
    // is empty and belongs to the program alone. Its pins go to the guest.
    ::mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr);
    // A call that waep does not answer, such as the execution of a file by a path in it, must not
    // find this machine's tracing files.
    if (::mount("waep", "/sys/kernel/tracing", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV,
                "mode=755,size=64k") == 0) {
      // The other path of the host's tracing files, if debugfs is mounted.
      ::mount("/sys/kernel/tracing", "/sys/kernel/debug/tracing", nullptr, MS_BIND, nullptr);
    }
  }
  for (const auto& [source, target] : surroundings.binds) {
    if (::mount(source, target, nullptr, MS_BIND | MS_REC, nullptr) < 0) {
      return Die(messages, std::string("binding a file of the guest over ") + target, -errno);
    }
  }
  const int listener = seccomp::Install(program);
  if (listener < 0) {
    return Die(messages,
               listener == -EINVAL ? "installing the seccomp filter (it needs Linux 5.19)"
                                   : "installing the seccomp filter",
               listener);
  }
  const int sent = HandOver(control, listener);
  if (sent < 0) return Die(messages, "handing over the listener", sent);
  char byte = 0;
  if (::read(control, &byte, 1) != 1)
    return Die(messages, "waiting for the supervisor", -ECONNRESET);
  ::close(listener);
  ::close(control);
  ::execvp(program[0], program);
  const int error = errno;
  Die(messages, program[0], -error);
  return error == ENOENT ? 127 : 126;
}

}  // namespace waep
