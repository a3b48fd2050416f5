// SPDX-License-Identifier: MIT
#include "connection_slot.h"

#include <sys/socket.h>

#include <chrono>
#include <utility>

#include "../sockets.h"

namespace waep {

void ConnectionSlot::Put(unique_fd connection, uint32_t lease_ms) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (served_.valid()) sockets::Shutdown(served_.get(), SHUT_RDWR);
  if (ended_) return;
  next_ = std::move(connection);
  lease_ms_ = lease_ms;
  put_.notify_one();
}

void ConnectionSlot::End() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (served_.valid()) sockets::Shutdown(served_.get(), SHUT_RDWR);
  ended_ = true;
  next_.reset();
  put_.notify_one();
}

int ConnectionSlot::Next() {
  std::unique_lock<std::mutex> lock(mutex_);
  served_.reset();
  const auto ready = [this] { return ended_ || next_.valid(); };
  if (!begun_) {
    put_.wait(lock, ready);
  } else {
    put_.wait_for(lock, std::chrono::milliseconds(lease_ms_), ready);
  }
  begun_ = true;
  served_ = std::move(next_);
  return served_.get();
}

bool ConnectionSlot::has_next() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return next_.valid();
}

uint32_t ConnectionSlot::lease_ms() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return lease_ms_;
}

}  // namespace waep
