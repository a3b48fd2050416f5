// SPDX-License-Identifier: MIT
#include "caller_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include "memory_maps.h"

namespace waep::seccomp {
namespace {

bool IsGone(int error) { return error == ENOENT || error == ESRCH; }

}  // namespace

ssize_t CallerMemory::Write(int listener, const Notification& call, const MemoryPart* parts,
                            size_t count) {
  const unique_fd memory(Open(call.thread, "mem", O_WRONLY));
  if (!memory.valid()) return -errno;
  const int waits = Check(listener, call.id);
  if (waits < 0) return waits;
  size_t done = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto& [address, bytes, length] = parts[i];
    size_t written = 0;
    while (written < length) {
      const uint64_t at = address + written;
      const size_t writable = Writable(call.thread, at, length - written);
      if (writable == 0) return static_cast<ssize_t>(done + written);
      const ssize_t put = ::pwrite(memory.get(), static_cast<const uint8_t*>(bytes) + written,
                                   writable, static_cast<off_t>(at));
      if (put <= 0) return static_cast<ssize_t>(done + written);
      written += static_cast<size_t>(put);
    }
    done += written;
  }
  return static_cast<ssize_t>(done);
}

int CallerMemory::Open(uint32_t thread, const char* name, int flags) {
  for (const bool again : {false, true}) {
    if (again || thread != thread_ || !folder_.valid()) {
      char path[32];
      ::snprintf(path, sizeof path, "/proc/%" PRIu32, thread);
      folder_.reset(::open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
      thread_ = thread;
      std::fill(ranges_, ranges_ + kRanges, Range());
      if (!folder_.valid()) return -1;
    }
    const int descriptor = ::openat(folder_.get(), name, flags | O_CLOEXEC);
    if (descriptor >= 0 || !IsGone(errno)) return descriptor;
  }
  return -1;
}

size_t CallerMemory::Writable(uint32_t thread, uint64_t address, size_t length) {
  const auto holds = [address](const Range& range) {
    return range.start <= address && address < range.end;
  };
  const Range* known = std::find_if(ranges_, ranges_ + kRanges, holds);
  if (known == ranges_ + kRanges) {
    Range found;
    if (!FindWritable(thread, address, &found)) return 0;
    known = &ranges_[next_];
    ranges_[next_] = found;
    next_ = (next_ + 1) % kRanges;
  }
  return std::min<uint64_t>(length, known->end - address);
}

bool CallerMemory::FindWritable(uint32_t thread, uint64_t address, Range* found) {
  Mapping mapping;
  if (!FindMapping(unique_fd(Open(thread, "maps", O_RDONLY)), address, &mapping)) return false;
  *found = {mapping.start, mapping.end};
  return mapping.writable;
}

}  // namespace waep::seccomp
