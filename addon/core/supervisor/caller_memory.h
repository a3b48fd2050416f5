// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../unique_fd.h"
#include "seccomp_listener.h"

namespace waep::seccomp {

struct MemoryPart {
  uint64_t address = 0;  // in the caller
  const void* bytes = nullptr;
  size_t length = 0;
};

// Writes answers only into the memory of callers that still wait.
//
// The caller can be killed at any time, and its process id can be reused. So this class first opens
// the memory, and then checks that the call still waits. If it does, the id belonged to the caller
// at the open. The bytes reach that memory, or nothing.
//
// Writing to /proc/PID/mem ignores the protection of private pages, which the kernel would respect
// in an answer of its own. So the protection is looked up first. Writable ranges are cached. If the
// program makes one of them read-only meanwhile, only its own pages are written to.
class CallerMemory {
 public:
  // Writes the parts in order, up to the first byte that the program itself could not write.
  // Returns the number of bytes that were written, or a negative errno: ENOENT if the call no
  // longer waits.
  ssize_t Write(int listener, const Notification& call, const MemoryPart* parts, size_t count);

 private:
  struct Range {
    uint64_t start = 0;
    uint64_t end = 0;  // the first address behind it
  };

  int Open(uint32_t thread, const char* name, int flags);
  // Returns how many bytes from `address` on, up to `length`, are writable.
  size_t Writable(uint32_t thread, uint64_t address, size_t length);
  // Finds the writable mapping that an address is in.
  bool FindWritable(uint32_t thread, uint64_t address, Range* found);

  static constexpr size_t kRanges = 4;

  uint32_t thread_ = 0;
  // /proc/PID. It belongs to one thread, even when the thread has ended and its id is reused.
  unique_fd folder_;
  Range ranges_[kRanges];
  size_t next_ = 0;
};

}  // namespace waep::seccomp
