// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>

#include <memory>
#include <mutex>
#include <vector>

#include "event_connection.h"

namespace waep {

// A thread that serves a session's event connections. Calls and events do not wait for each other.
class EventLoop {
 public:
  EventLoop(const SharedHandles* handles, const Limits* limits, int first_fd);

  // Starts the thread. Returns 0 or a negative errno when the thread makes only the system calls of
  // its work, so that the sandbox can be installed, and Executor::Prepare can read the mappings.
  // The thread gets the nice value `nice` if it may.
  int Start(int nice);
  // Passes a connection to the thread. Any thread may call it.
  void Attach(unique_fd connection);

 private:
  static void* Run(void* self);
  [[noreturn]] void Serve();
  void Wait(int64_t due_ns);
  void TakeAttached();

  EventContext context_;
  unique_fd wake_;
  std::mutex mutex_;
  std::vector<unique_fd> attached_;
  std::vector<std::unique_ptr<EventConnection>> connections_;
  // Descriptors that poll(2) always reports although there is nothing to read: the perf event of a
  // process that has ended, or a map that is no ring. They are left out for a while.
  std::vector<int> hung_up_;
  int64_t hung_up_until_ns_ = 0;
  int nice_ = 0;
  pthread_t thread_ = {};
  pthread_barrier_t running_ = {};
};

}  // namespace waep
