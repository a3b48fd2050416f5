// SPDX-License-Identifier: MIT
#pragma once

#include <errno.h>
#include <fcntl.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "../unique_fd.h"

namespace waep {

// Is alive as long as somebody has a copy of a descriptor, or the descriptor itself.
using InUse = std::shared_ptr<const void>;

// A copy of a descriptor.
struct SharedCopy {
  unique_fd fd;
  uint64_t serial = 0;  // tells what the handle is bound to from what else it was, or will be
  InUse in_use;
};

// What the thread that holds a session's handles tells other threads of them, so that these can
// have copies of the descriptors.
class SharedHandles {
 public:
  // Whether the object is one of others, of which there are no copies.
  void Bound(uint32_t handle, int fd, bool foreign) {
    const std::lock_guard<std::mutex> lock(mutex_);
    entries_[handle] = {fd, ++bound_, foreign, std::make_shared<char>()};
  }
  // To be called before the descriptor is closed. Returns what says how long there are copies.
  InUse Closing(uint32_t handle) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = entries_.find(handle);
    if (found == entries_.end()) return nullptr;
    InUse in_use = std::move(found->second.in_use);
    entries_.erase(found);
    return in_use;
  }

  // Makes a copy of the descriptor, numbered from `first` on. Returns 0 or a negative errno:
  // -ENOENT without the handle, -EPERM for an object of others.
  [[nodiscard]] int Duplicate(uint32_t handle, int first, SharedCopy* copy) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = entries_.find(handle);
    if (found == entries_.end()) return -ENOENT;
    const Entry& entry = found->second;
    if (entry.foreign) return -EPERM;
    const int fd = ::fcntl(entry.fd, F_DUPFD_CLOEXEC, first);
    if (fd < 0) return -errno;
    *copy = {unique_fd(fd), entry.serial, entry.in_use};
    return 0;
  }

 private:
  struct Entry {
    int fd;
    uint64_t serial;
    bool foreign;
    InUse in_use;
  };
  mutable std::mutex mutex_;
  std::unordered_map<uint32_t, Entry> entries_;
  uint64_t bound_ = 0;
};

}  // namespace waep
