// SPDX-License-Identifier: MIT
#include "mounts.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>

namespace waep::mounts {

int Leave() {
  if (::unshare(CLONE_NEWNS) < 0) return -errno;
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0 ? -errno : 0;
}

int Mount(const char* type, const char* place) {
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  return ::mount(type, place, type, kFlags, nullptr) < 0 ? -errno : 0;
}

int Bind(const char* source, const char* place) {
  return ::mount(source, place, nullptr, MS_BIND, nullptr) < 0 ? -errno : 0;
}

}  // namespace waep::mounts
