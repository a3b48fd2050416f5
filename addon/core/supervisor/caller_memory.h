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

// Writes answers into the memory of callers that wait, and of nobody else.
//
// A process id is no name for a process: the caller can be killed, and its number be another's, at
// any time. So the memory is opened first, and the call must wait after that: whoever waits has had
// its number all along. What is written goes to that memory or nowhere.
//
// Writing to /proc/PID/mem overrides the protection of private pages, which the kernel would
// respect in an answer of its own. So it is looked up; ranges that were found writable are
// remembered, since all that a thread of the program can do about it is to have its own pages
// written to.
class CallerMemory {
 public:
  // Writes the parts in their order, up to the first byte that the program could not write itself.
  // Returns how many bytes were written, or a negative errno: ENOENT when the call waits no more.
  ssize_t Write(int listener, const Notification& call, const MemoryPart* parts, size_t count);

 private:
  struct Range {
    uint64_t start = 0;
    uint64_t end = 0;  // the first address behind it
  };

  int Open(uint32_t thread, const char* name, int flags);
  // How many bytes from `address` on, up to `length`, can be written to.
  size_t Writable(uint32_t thread, uint64_t address, size_t length);
  // Finds the writable mapping that an address is in.
  bool FindWritable(uint32_t thread, uint64_t address, Range* found);

  static constexpr size_t kRanges = 4;

  uint32_t thread_ = 0;
  // /proc/PID. It stays that of one thread, also when that is gone and its number is another's.
  unique_fd folder_;
  Range ranges_[kRanges];
  size_t next_ = 0;
};

}  // namespace waep::seccomp
