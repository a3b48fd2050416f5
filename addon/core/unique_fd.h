// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <utility>

namespace waep {

// Owns one file descriptor and closes it exactly once. Even when close(2) reports EINTR the
// descriptor is gone, so its result is not looked at.
class unique_fd {
 public:
  unique_fd() noexcept = default;
  explicit unique_fd(int fd) noexcept : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(other.release()) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  unique_fd(const unique_fd&) = delete;
  unique_fd& operator=(const unique_fd&) = delete;
  ~unique_fd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

  // `if (fd)` would be true for -1 and false for 0.
  explicit operator bool() const = delete;

 private:
  int fd_ = -1;
};

}  // namespace waep
