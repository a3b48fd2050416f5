// SPDX-License-Identifier: MIT
//
// waep-launch CONTROL AHEAD [--bind SOURCE TARGET]… -- PROGRAM [ARGUMENT]…: becomes a program whose
// eBPF calls somebody else answers.
//
// In a mount namespace of its own it mounts an empty bpf file system, an empty one in the place of
// the tracing file system, and binds files over others; in a time namespace of its own, if it may
// have one, the monotonic clock is AHEAD nanoseconds ahead of this machine's, and the clock since
// boot is the same. It lifts the limit on locked memory if it may. Then it installs the filter
// (seccomp_filter.h), sends the listener over the Unix socket CONTROL, waits for one byte back, and
// executes the program. Exits with 125 when it cannot, 126 or 127 as env(1) does.

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "seccomp_filter.h"
#include "sockets.h"

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

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return Die("not started by waep", "", -EINVAL);
  const int control = static_cast<int>(strtol(argv[1], nullptr, 10));
  ShiftClocks(strtoll(argv[2], nullptr, 10));
  // The filter lets nobody change it afterwards.
  const rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  ::setrlimit(RLIMIT_MEMLOCK, &unlimited);
  int next = 3;
  // Who may not have a namespace may not mount anything either, outside of it or in it.
  const bool apart = ::unshare(CLONE_NEWNS) == 0;
  if (!apart && strcmp(argv[next], "--bind") == 0) {
    return Die("making a mount namespace", "", -errno);
  }
  if (apart) {
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) {
      return Die("making mounts private", "", -errno);
    }
    // Programs look for a bpf file system before they pin, and mount one where there is none. This
    // one is empty and theirs alone: what they pin goes to the guest's.
    ::mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr);
    // Folders of events are listed. What is in this one is for whoever answers to put there.
    ::mount("waep", "/sys/kernel/tracing", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV,
            "mode=755,size=64m");
  }
  for (; next + 2 < argc && strcmp(argv[next], "--bind") == 0; next += 3) {
    if (::mount(argv[next + 1], argv[next + 2], nullptr, MS_BIND | MS_REC, nullptr) < 0) {
      return Die("binding a file of the guest over", argv[next + 2], -errno);
    }
  }
  if (next + 1 >= argc || strcmp(argv[next], "--") != 0) {
    return Die("not started by waep", "", -EINVAL);
  }
  ++next;
  const int listener = waep::seccomp::Install();
  if (listener < 0) {
    return Die(listener == -EINVAL ? "installing the seccomp filter (it needs Linux 5.19)"
                                   : "installing the seccomp filter",
               "", listener);
  }
  char byte = 0;
  const iovec part = {&byte, 1};
  const ssize_t sent = waep::sockets::SendMessage(control, &part, 1, listener, 0);
  if (sent < 0) return Die("handing over the listener", "", static_cast<int>(sent));
  if (::read(control, &byte, 1) != 1) return Die("waiting for the supervisor", "", -ECONNRESET);
  ::close(listener);
  ::close(control);
  ::execvp(argv[next], argv + next);
  const int error = errno;
  fprintf(stderr, "waep: %s: %s\n", argv[next], strerror(error));
  return error == ENOENT ? 127 : 126;
}
