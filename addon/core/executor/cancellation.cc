// SPDX-License-Identifier: MIT
#include "cancellation.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace waep {
namespace {

std::atomic<bool> handled{false};

void Handle(int) { handled.store(true); }

}  // namespace

int Cancellation::Prepare() {
  thread_ = static_cast<pid_t>(::syscall(SYS_gettid));
  struct sigaction action = {};
  action.sa_handler = Handle;  // without SA_RESTART: interrupting is the point
  return ::sigaction(SIGUSR1, &action, nullptr) < 0 ? -errno : 0;
}

bool Cancellation::Admit(uint32_t id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = std::find(ids_.begin(), ids_.end(), id);
  if (found == ids_.end()) return true;
  ids_.erase(found);
  waiting_ = !ids_.empty();
  running_ = 0;
  return false;
}

bool Cancellation::TakeSignal() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!signalled_) return false;  // thought better of: the request had ended
  // The signal will be delivered, but perhaps not yet.
  while (!handled.load()) ::poll(nullptr, 0, 1);
  handled = false;
  signalled_ = false;
  return true;
}

void Cancellation::Cancel(uint32_t id) {
  // Clients count from 1. A client that only asks whether the agent is there uses 0.
  if (id == 0) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Interrupt(kRunning | id)) return;
  if (ids_.size() == kMaxWaiting) ids_.erase(ids_.begin());
  ids_.push_back(id);
  waiting_ = true;
}

void Cancellation::CancelAll() {
  const std::lock_guard<std::mutex> lock(mutex_);
  abandoned_ = true;
  if (const uint64_t running = running_; running != 0) Interrupt(running);
}

void Cancellation::Urge() {
  const std::lock_guard<std::mutex> lock(mutex_);
  // A signal that is not handled yet may still interrupt. A second one would be left over.
  if (!signalled_ || running_ == 0 || !handled) return;
  handled = false;
  ::syscall(SYS_tgkill, ::getpid(), thread_, SIGUSR1);
}

// Interrupts a request. Returns whether it was the running one.
bool Cancellation::Interrupt(uint64_t running) {
  if (running_ != running) return false;
  // Set this first, so that the end of the request waits until this is over.
  const bool again = signalled_.exchange(true);
  if (running_ != running) {
    if (!again) signalled_ = false;
  } else if (!again) {
    ::syscall(SYS_tgkill, ::getpid(), thread_, SIGUSR1);
  }
  return true;
}

}  // namespace waep
