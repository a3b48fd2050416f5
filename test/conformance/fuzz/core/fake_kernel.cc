// SPDX-License-Identifier: MIT
#include "fake_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "expect.h"

namespace fake_kernel {
namespace {

// No real descriptor of this process is as large.
constexpr int kFirst = 1 << 24;
constexpr size_t kMost = 128;
constexpr size_t kMostSegments = 64;
constexpr size_t kMostKinds = 16;
constexpr size_t kMostBytes = 64 * 1024;
constexpr uint64_t kNsPerSecond = 1000 * 1000 * 1000;

struct File {
  Kind kind = Kind::kNone;
  uint64_t counter = 0;
};

struct Watch {
  int fd;
  epoll_event event;
};

// The bytes and descriptors that one sendmsg(2) of the peer would have sent.
struct Segment {
  const uint8_t* bytes;
  size_t size;
  size_t count;
  Kind kinds[kMostKinds];
};

bool active;
File files[kMost];
int open_files;
Watch watches[kMost];
size_t watch_count;
// The bytes that were sent and not received. They are in a fixed array, because allocating them
// would cost more than everything else.
uint8_t sent_bytes[kMostBytes];
size_t sent_size;
Segment segments[kMostSegments];
size_t first_segment;
size_t segment_count;
bool hung_up;
uint64_t now_ns;
uint64_t due_ns;
uint64_t period_ns;
size_t file_bytes = kFileBytes;
int memory_file = -1;
uint8_t* memory;
bool pipe_is_full;

bool IsFake(int fd) { return fd >= kFirst; }

File* FileOf(int fd) {
  const auto index = static_cast<size_t>(fd - kFirst);
  return index < kMost && files[index].kind != Kind::kNone ? &files[index] : nullptr;
}

int Open(Kind kind) {
  for (size_t i = 0; i < kMost; ++i) {
    if (files[i].kind != Kind::kNone) continue;
    files[i] = {kind, 0};
    ++open_files;
    return kFirst + static_cast<int>(i);
  }
  Wrong("there are too many descriptors");
}

int Failed(int error) {
  errno = error;
  return -1;
}

bool Readable(int fd) {
  const File* const file = FileOf(fd);
  switch (file == nullptr ? Kind::kNone : file->kind) {
    case Kind::kEvent:
      return file->counter > 0;
    case Kind::kTimer:
      return due_ns != 0 && now_ns >= due_ns;
    case Kind::kSocket:
      return hung_up || first_segment < segment_count;
    default:
      return false;
  }
}

bool Unwatch(int fd) {
  for (size_t i = 0; i < watch_count; ++i) {
    if (watches[i].fd != fd) continue;
    watches[i] = watches[--watch_count];
    return true;
  }
  return false;
}

bool InMemory(const void* address) {
  const auto* const at = static_cast<const uint8_t*>(address);
  return memory != nullptr && at >= memory && at < memory + kFileBytes;
}

}  // namespace

void Begin() {
  active = true;
  hung_up = pipe_is_full = false;
  now_ns = kNsPerSecond;
  due_ns = period_ns = 0;
}

void End() {
  active = false;
  watch_count = sent_size = first_segment = segment_count = 0;
  if (open_files != 0) Wrong("a descriptor is left");
}

int MakeSocket() { return Open(Kind::kSocket); }

void Send(const void* bytes, size_t size, const Kind* kinds, size_t count) {
  if (first_segment == segment_count) sent_size = first_segment = segment_count = 0;
  // A peer that does not wait for room loses its bytes.
  if (size == 0 || size > kMostBytes - sent_size || segment_count == kMostSegments) return;
  if (count > kMostKinds) Wrong("too many descriptors are sent");
  Segment& segment = segments[segment_count++];
  segment = {sent_bytes + sent_size, size, count, {}};
  std::copy(kinds, kinds + count, segment.kinds);
  std::memcpy(sent_bytes + sent_size, bytes, size);
  sent_size += size;
}

void HangUp() { hung_up = true; }

void PassTime(uint64_t ns) { now_ns += ns; }

uint8_t* Memory() {
  if (memory == nullptr) RestoreMemory();
  return memory;
}

void ForbidMemory() { __asan_poison_memory_region(Memory(), kFileBytes); }

void AllowMemory(size_t offset, size_t size) {
  __asan_unpoison_memory_region(Memory() + offset, size);
}

void CutMemory(size_t bytes) {
  if (::ftruncate(memory_file, static_cast<off_t>(bytes)) < 0) Wrong("a file cannot be cut");
  file_bytes = bytes;
}

void RestoreMemory() {
  if (memory_file < 0) memory_file = ::memfd_create("guest", MFD_CLOEXEC);
  // Pages of zeros may have replaced the file's pages.
  const int fixed = memory == nullptr ? 0 : MAP_FIXED;
  if (::ftruncate(memory_file, 0) < 0 || ::ftruncate(memory_file, kFileBytes) < 0) {
    Wrong("a file cannot be made");
  }
  void* const map =
      ::mmap(memory, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED | fixed, memory_file, 0);
  if (map == MAP_FAILED) Wrong("a file cannot be mapped");
  memory = static_cast<uint8_t*>(map);
  file_bytes = kFileBytes;
}

}  // namespace fake_kernel

using namespace fake_kernel;

// The system calls, under the names that the linker gives them.
extern "C" {

int __real_close(int);
ssize_t __real_read(int, void*, size_t);
ssize_t __real_write(int, const void*, size_t);
int __real_fcntl(int, int, ...);
int __real_fstat(int, struct stat*);
int __real_poll(pollfd*, nfds_t, int);
void* __real_mmap(void*, size_t, int, int, int, off_t);
int __real_munmap(void*, size_t);
int __real_madvise(void*, size_t, int);
int __real_clock_gettime(clockid_t, timespec*);
ssize_t __real_getrandom(void*, size_t, unsigned);

int __wrap_epoll_create1(int) { return Open(Kind::kEpoll); }
int __wrap_eventfd(unsigned, int) { return Open(Kind::kEvent); }
int __wrap_timerfd_create(int, int) { return Open(Kind::kTimer); }

int __wrap_close(int fd) {
  if (!IsFake(fd)) return __real_close(fd);
  File* const file = FileOf(fd);
  if (file == nullptr) Wrong("what is closed is not open");
  *file = {};
  --open_files;
  Unwatch(fd);
  return 0;
}

int __wrap_epoll_ctl(int, int operation, int fd, epoll_event* event) {
  if (FileOf(fd) == nullptr) return Failed(EBADF);
  if (operation == EPOLL_CTL_DEL) return Unwatch(fd) ? 0 : Failed(ENOENT);
  // epoll(7) accepts no regular files.
  if (FileOf(fd)->kind == Kind::kMemory) return Failed(EPERM);
  for (size_t i = 0; i < watch_count; ++i) {
    if (watches[i].fd == fd) return Failed(EEXIST);
  }
  watches[watch_count++] = {fd, *event};
  return 0;
}

int __wrap_epoll_wait(int, epoll_event* events, int most, int) {
  int count = 0;
  for (size_t i = 0; i < watch_count; ++i) {
    if (count < most && Readable(watches[i].fd)) {
      events[count] = watches[i].event;
      events[count++].events = EPOLLIN;
    }
  }
  return count;
}

int __wrap_timerfd_settime(int, int, const itimerspec* value, itimerspec*) {
  period_ns = static_cast<uint64_t>(value->it_interval.tv_sec) * kNsPerSecond;
  due_ns = value->it_value.tv_sec == 0
               ? 0
               : now_ns + static_cast<uint64_t>(value->it_value.tv_sec) * kNsPerSecond;
  return 0;
}

ssize_t __wrap_read(int fd, void* buffer, size_t size) {
  if (!IsFake(fd)) return __real_read(fd, buffer, size);
  if (!Readable(fd)) return Failed(EAGAIN);
  File* const file = FileOf(fd);
  const uint64_t count = file->kind == Kind::kTimer ? 1 : file->counter;
  if (file->kind == Kind::kTimer) due_ns = now_ns + period_ns;
  file->counter = 0;
  std::memcpy(buffer, &count, sizeof count);
  return sizeof count;
}

ssize_t __wrap_write(int fd, const void* buffer, size_t size) {
  if (!IsFake(fd)) return __real_write(fd, buffer, size);
  File* const file = FileOf(fd);
  if (file == nullptr) return Failed(EBADF);
  if (file->kind == Kind::kPipe && pipe_is_full) Wrong("a write would block");
  ++file->counter;
  return static_cast<ssize_t>(size);
}

int __wrap_fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  const long argument = va_arg(arguments, long);
  va_end(arguments);
  if (!IsFake(fd)) return __real_fcntl(fd, command, argument);
  const File* const file = FileOf(fd);
  if (file == nullptr || command != F_GETFL) return Failed(EBADF);
  return file->kind == Kind::kPipe ? O_RDWR : O_RDWR | O_NONBLOCK;
}

int __wrap_poll(pollfd* polled, nfds_t count, int timeout) {
  if (count != 1 || !IsFake(polled->fd)) return __real_poll(polled, count, timeout);
  pipe_is_full = !pipe_is_full;
  polled->revents = pipe_is_full ? 0 : POLLOUT;
  return pipe_is_full ? 0 : 1;
}

int __wrap_fstat(int fd, struct stat* status) {
  if (!IsFake(fd)) return __real_fstat(fd, status);
  const File* const file = FileOf(fd);
  if (file == nullptr) return Failed(EBADF);
  *status = {};
  if (file->kind != Kind::kMemory) return 0;
  status->st_mode = S_IFREG;
  status->st_size = static_cast<off_t>(file_bytes);
  status->st_blksize = 4096;
  return 0;
}

void* __wrap_mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  if (!IsFake(fd)) return __real_mmap(address, size, protection, flags, fd, offset);
  const File* const file = FileOf(fd);
  if (file == nullptr || file->kind != Kind::kMemory) {
    errno = ENODEV;
    return MAP_FAILED;
  }
  if (size > kFileBytes || static_cast<size_t>(offset) > kFileBytes - size) {
    Wrong("more is mapped than there is");
  }
  return memory + offset;
}

int __wrap_munmap(void* address, size_t size) {
  return InMemory(address) ? 0 : __real_munmap(address, size);
}

int __wrap_madvise(void* address, size_t size, int advice) {
  return InMemory(address) ? 0 : __real_madvise(address, size, advice);
}

ssize_t __wrap_recvmsg(int fd, msghdr* message, int) {
  const File* const file = FileOf(fd);
  if (file == nullptr || file->kind != Kind::kSocket) return Failed(ENOTSOCK);
  message->msg_flags = 0;
  const size_t room = message->msg_controllen;
  message->msg_controllen = 0;
  if (first_segment == segment_count) return hung_up ? 0 : Failed(EAGAIN);
  Segment& segment = segments[first_segment];
  const iovec& part = message->msg_iov[0];
  const size_t size = std::min(part.iov_len, segment.size);
  std::memcpy(part.iov_base, segment.bytes, size);
  segment.bytes += size;
  segment.size -= size;
  if (segment.count > 0 && size > 0) {
    const size_t fit = (room - CMSG_LEN(0)) / sizeof(int);
    const size_t count = std::min(fit, segment.count);
    if (count < segment.count) message->msg_flags |= MSG_CTRUNC;
    message->msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* const control = static_cast<cmsghdr*>(message->msg_control);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(count * sizeof(int));
    for (size_t i = 0; i < count; ++i) {
      const int number = Open(segment.kinds[i]);
      std::memcpy(CMSG_DATA(control) + i * sizeof number, &number, sizeof number);
    }
    segment.count = 0;
  }
  if (segment.size == 0) ++first_segment;
  return static_cast<ssize_t>(size);
}

ssize_t __wrap_sendmsg(int fd, const msghdr* message, int) {
  if (FileOf(fd) == nullptr) return Failed(ENOTSOCK);
  if (hung_up) return Failed(EPIPE);
  size_t size = 0;
  for (size_t i = 0; i < message->msg_iovlen; ++i) size += message->msg_iov[i].iov_len;
  return static_cast<ssize_t>(size);
}

// The fuzzer's signal handlers ask for other clocks.
int __wrap_clock_gettime(clockid_t clock, timespec* time) {
  if (!active || clock != CLOCK_MONOTONIC) return __real_clock_gettime(clock, time);
  *time = {static_cast<time_t>(now_ns / kNsPerSecond), static_cast<long>(now_ns % kNsPerSecond)};
  return 0;
}

ssize_t __wrap_getrandom(void* buffer, size_t size, unsigned flags) {
  if (!active) return __real_getrandom(buffer, size, flags);
  std::memset(buffer, 0, size);
  return static_cast<ssize_t>(size);
}

}  // extern "C"
