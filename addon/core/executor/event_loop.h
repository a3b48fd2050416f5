// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>

#include <memory>
#include <mutex>
#include <vector>

#include "event_connection.h"

namespace waep {

// A thread that serves a session's event connections, apart from its calls: neither waits for the
// other.
class EventLoop {
 public:
  EventLoop(const SharedHandles* handles, const Limits* limits, int first_fd);

  // Starts the thread and returns 0 or a negative errno, once the thread needs nothing of the
  // kernel any more but what its work takes: the sandbox may follow, and Executor::Prepare, which
  // looks at what is mapped. The thread gets the priority `nice` where it may have it.
  int Start(int nice);
  // Hands a connection over. From any thread.
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
  // Descriptors that say at once that there is nothing to wait for, and would say so for ever: the
  // perf event of a process that has ended, a map that is no ring. They are left out for a while.
  std::vector<int> hung_up_;
  int64_t hung_up_until_ns_ = 0;
  int nice_ = 0;
  pthread_t thread_ = {};
  pthread_barrier_t running_ = {};
};

}  // namespace waep
