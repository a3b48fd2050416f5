// SPDX-License-Identifier: MIT
#pragma once

#include <errno.h>
#include <fcntl.h>

#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace waep {

// What the thread that holds a session's handles tells other threads of them, so that these can
// have copies of the descriptors.
class SharedHandles {
 public:
  void Bound(uint32_t handle, int fd) {
    const std::lock_guard<std::mutex> lock(mutex_);
    entries_[handle] = {fd, ++bound_};
  }
  // To be called before the descriptor is closed.
  void Closing(uint32_t handle) {
    const std::lock_guard<std::mutex> lock(mutex_);
    entries_.erase(handle);
  }

  // A copy of the descriptor, numbered from `first` on, or a negative errno: -ENOENT without the
  // handle. `serial` becomes what tells it from what else the handle was bound to, or will be.
  [[nodiscard]] int Duplicate(uint32_t handle, int first, uint64_t* serial) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = entries_.find(handle);
    if (found == entries_.end()) return -ENOENT;
    *serial = found->second.serial;
    const int copy = ::fcntl(found->second.fd, F_DUPFD_CLOEXEC, first);
    return copy < 0 ? -errno : copy;
  }

 private:
  struct Entry {
    int fd;
    uint64_t serial;
  };
  mutable std::mutex mutex_;
  std::unordered_map<uint32_t, Entry> entries_;
  uint64_t bound_ = 0;
};

}  // namespace waep
