// SPDX-License-Identifier: MIT
#include "event_loop.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace waep {
namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr int64_t kHungUpNs = 20'000'000;
constexpr int64_t kTellDroppedNs = 60'000'000'000;
constexpr short kHungUp = POLLERR | POLLHUP | POLLNVAL;

int64_t NowNs() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

EventLoop::EventLoop(const SharedHandles* handles, const Limits* limits, int first_fd) {
  context_.handles = handles;
  context_.limits = limits;
  context_.first_fd = first_fd;
  context_.quota = RateQuota(limits->max_events_per_second);
}

int EventLoop::Start(int nice) {
  nice_ = nice;
  const int error = context_.arena.Reserve();
  if (error != 0) return error;
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.valid()) return -errno;
  pthread_barrier_init(&running_, nullptr, 2);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  const int failed = pthread_create(&thread_, &attributes, Run, this);
  pthread_attr_destroy(&attributes);
  if (failed == 0) pthread_barrier_wait(&running_);
  return -failed;
}

void EventLoop::Attach(unique_fd connection) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    attached_.push_back(std::move(connection));
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void* EventLoop::Run(void* self) {
  auto* const loop = static_cast<EventLoop*>(self);
  // On Linux this sets the priority of this thread only. A failure does not matter.
  ::setpriority(PRIO_PROCESS, 0, loop->nice_);
  pthread_barrier_wait(&loop->running_);
  loop->Serve();
}

void EventLoop::TakeAttached() {
  uint64_t count = 0;
  if (::read(wake_.get(), &count, sizeof count) < 0) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (unique_fd& fd : attached_) {
    connections_.push_back(std::make_unique<EventConnection>(&context_, std::move(fd)));
  }
  attached_.clear();
}

void EventLoop::Serve() {
  for (;;) {
    const int64_t now_ns = NowNs();
    int64_t due_ns = kNever;
    const auto over = [&](const std::unique_ptr<EventConnection>& connection) {
      if (!connection->Send(now_ns)) return true;
      due_ns = std::min(due_ns, connection->due_ns());
      return false;
    };
    connections_.erase(std::remove_if(connections_.begin(), connections_.end(), over),
                       connections_.end());
    Wait(std::min(due_ns, TellDropped(now_ns)));
  }
}

int64_t EventLoop::TellDropped(int64_t now_ns) {
  const uint64_t dropped = context_.quota.dropped();
  if (dropped == dropped_told_) return kNever;
  dropped_ = dropped;
  if (now_ns < tell_dropped_ns_) return tell_dropped_ns_;
  tell_dropped_ns_ = now_ns + kTellDroppedNs;
  if (on_dropped_) on_dropped_(dropped - dropped_told_);
  dropped_told_ = dropped;
  return kNever;
}

void EventLoop::Wait(int64_t due_ns) {
  std::vector<pollfd> polled = {{wake_.get(), POLLIN, 0}};
  std::vector<int> sources;
  for (const auto& connection : connections_) {
    const int events =
        (connection->receives() ? POLLIN : 0) | (connection->blocked() ? POLLOUT : 0);
    polled.push_back({connection->fd(), static_cast<short>(events), 0});
    connection->Watch(&sources);
  }
  const int64_t now_ns = NowNs();
  if (now_ns >= hung_up_until_ns_) hung_up_.clear();
  if (!hung_up_.empty()) due_ns = std::min(due_ns, hung_up_until_ns_);
  const size_t first_source = polled.size();
  for (const int fd : sources) {
    if (std::find(hung_up_.begin(), hung_up_.end(), fd) == hung_up_.end()) {
      polled.push_back({fd, POLLIN, 0});
    }
  }
  const int64_t left_ns = std::max<int64_t>(due_ns - now_ns, 0);
  const timespec timeout = {left_ns / 1'000'000'000, left_ns % 1'000'000'000};
  if (::ppoll(polled.data(), polled.size(), due_ns == kNever ? nullptr : &timeout, nullptr) <= 0) {
    return;
  }
  for (size_t i = first_source; i < polled.size(); ++i) {
    if ((polled[i].revents & kHungUp) == 0) continue;
    if (hung_up_.empty()) hung_up_until_ns_ = now_ns + kHungUpNs;
    hung_up_.push_back(polled[i].fd);
  }
  size_t at = 1;
  const auto over = [&](const std::unique_ptr<EventConnection>& connection) {
    const short events = polled[at++].revents;
    return (events & (POLLIN | POLLERR | POLLHUP)) != 0 && !connection->Receive();
  };
  connections_.erase(std::remove_if(connections_.begin(), connections_.end(), over),
                     connections_.end());
  if (polled[0].revents != 0) TakeAttached();
}

}  // namespace waep
