// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "event_connection.h"

namespace waep {

// A thread that serves a session's event connections. Calls and events do not wait for each other.
class EventLoop {
 public:
  EventLoop(const SharedHandles* handles, const Limits* limits, int first_fd);

  // Starts the thread, and waits until it makes only the system calls of its work. Then the sandbox
  // can be installed, and Executor::Prepare can read the mappings. The thread gets the nice value
  // `nice` if it may. Returns 0 or a negative errno.
  int Start(int nice);
  // Sets a function that receives the number of records that were dropped for exceeding their rate.
  // It is called at the first one, then once a minute, on this loop's thread. To be set before
  // Start.
  void set_on_dropped(std::function<void(uint64_t records)> told) { on_dropped_ = std::move(told); }
  // Returns the number of these records. Any thread may call it.
  [[nodiscard]] uint64_t dropped() const { return dropped_; }
  // Passes a connection to the thread. Any thread may call it.
  void Attach(unique_fd connection);

 private:
  static void* Run(void* self);
  [[noreturn]] void Serve();
  void Wait(int64_t due_ns);
  void TakeAttached();
  // Reports dropped records, and returns when to look again.
  int64_t TellDropped(int64_t now_ns);

  EventContext context_;
  unique_fd wake_;
  std::mutex mutex_;
  std::vector<unique_fd> attached_;
  std::vector<std::unique_ptr<EventConnection>> connections_;
  std::function<void(uint64_t)> on_dropped_;
  std::atomic<uint64_t> dropped_{0};
  uint64_t dropped_told_ = 0;
  int64_t tell_dropped_ns_ = 0;  // the next report is not before then
  // Descriptors that poll(2) always reports although there is nothing to read: the perf event of a
  // process that has ended, or a map that is no ring. They are left out for a while.
  std::vector<int> hung_up_;
  int64_t hung_up_until_ns_ = 0;
  int nice_ = 0;
  pthread_t thread_ = {};
  pthread_barrier_t running_ = {};
};

}  // namespace waep
