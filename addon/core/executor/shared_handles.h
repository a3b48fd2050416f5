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

// Is alive as long as somebody has the descriptor or a copy of it.
using InUse = std::shared_ptr<const void>;

// A copy of a descriptor.
struct SharedCopy {
  unique_fd fd;
  uint64_t serial = 0;  // distinguishes the handle's present object from earlier and later ones
  InUse in_use;
};

// The session's handles for other threads than the one that owns them. They get copies of the
// descriptors.
class SharedHandles {
 public:
  // Registers a handle. Foreign objects are never copied.
  void Bound(uint32_t handle, int fd, bool foreign) {
    const std::lock_guard<std::mutex> lock(mutex_);
    entries_[handle] = {fd, ++bound_, foreign, std::make_shared<char>()};
  }
  // Must be called before the descriptor is closed. The result is alive as long as there are
  // copies.
  InUse Closing(uint32_t handle) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = entries_.find(handle);
    if (found == entries_.end()) return nullptr;
    InUse in_use = std::move(found->second.in_use);
    entries_.erase(found);
    return in_use;
  }

  // Makes a copy of the descriptor, numbered from `first` on. Returns 0 or a negative errno:
  // -ENOENT without the handle, -EPERM for a foreign object.
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
