// SPDX-License-Identifier: MIT
#include "seccomp_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "../architecture.h"
#include "../unique_fd.h"
#include "memory_maps.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace waep::seccomp {
namespace {

constexpr size_t kPage = 4096;

// Inode and eventfd numbers of the kernel's own file systems have 32 bits.
constexpr uint64_t kSockets = uint64_t{1} << 40;
constexpr uint64_t kMemories = uint64_t{2} << 40;
constexpr uint64_t kEvents = uint64_t{3} << 40;

int Result(int result) { return result < 0 ? -errno : result; }

int AddDescriptor(int listener, uint64_t id, int descriptor, uint32_t flags, int number,
                  bool close_on_exec) {
  seccomp_notif_addfd add = {};
  add.id = id;
  add.flags = flags;
  add.srcfd = static_cast<uint32_t>(descriptor);
  add.newfd = static_cast<uint32_t>(number);
  add.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
  // If a signal interrupts the wait until the caller takes it, the call returns 0 instead.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int result = Result(::ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return result;
}

// The device that the inodes of memfds are on.
dev_t SharedMemoryDevice() {
  static const dev_t device = [] {
    struct stat status = {};
    const int descriptor = ::memfd_create("waep", MFD_CLOEXEC);
    ::fstat(descriptor, &status);
    ::close(descriptor);
    return status.st_dev;
  }();
  return device;
}

// The id of an eventfd (Linux 5.2), by which it can be distinguished from others.
bool EventNumber(pid_t thread, int descriptor, uint64_t* number) {
  char path[64];
  ::snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", thread, descriptor);
  FILE* const file = ::fopen(path, "re");
  if (file == nullptr) return false;
  char line[128];
  bool found = false;
  while (!found && ::fgets(line, sizeof line, file) != nullptr) {
    found = ::sscanf(line, "eventfd-id: %" SCNu64, number) == 1;
  }
  ::fclose(file);
  return found;
}

// Returns the capabilities of a thread that are in effect, as a mask: none if it has ended.
uint64_t Effective(pid_t thread) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, thread};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) < 0) return 0;
  return data[0].effective | uint64_t{data[1].effective} << 32;
}

// Returns the number of a thread's user namespace, or 0 if it has ended.
ino_t UserNamespace(pid_t thread) {
  char path[64];
  ::snprintf(path, sizeof path, "/proc/%d/ns/user", thread);
  struct stat status = {};
  return ::stat(path, &status) < 0 ? 0 : status.st_ino;
}

// Returns whether clone3(2) asks for a user namespace, or whether that is unknown.
bool IntoUserNamespace(const Notification& call) {
  uint64_t flags = 0;
  const auto thread = static_cast<pid_t>(call.thread);
  const bool known = ReadMemory(thread, call.arguments[0], &flags, sizeof flags) == sizeof flags;
  return !known || (flags & CLONE_NEWUSER) != 0;
}

bool MayStandForAnObject(const struct stat& status) {
  const mode_t type = status.st_mode & S_IFMT;
  return S_ISSOCK(type) || type == 0 || (S_ISREG(type) && status.st_dev == SharedMemoryDevice());
}

}  // namespace

bool Rights::MayMove(const Notification& call) {
  switch (call.number) {
    case SYS_unshare:
    case SYS_setns:
    case SYS_clone:
    case SYS_clone3:
      // The flags of clone3(2) are in memory. Most calls make threads.
      namespaces_ = namespaces_ || call.number != SYS_clone3 || IntoUserNamespace(call);
      return call.architecture == kArchitecture && (call.number != SYS_setns || IsOfAnother(call));
    default:
      return false;
  }
}

Rights::Rights(pid_t program)
    : effective_(Effective(program)), user_namespace_(UserNamespace(program)) {}

uint64_t Rights::Lost(const Notification& call) const {
  if (effective_ == 0) return 0;
  const auto thread = static_cast<pid_t>(call.thread);
  // In a user namespace of its own it has all capabilities there, and none outside.
  if (namespaces_ && UserNamespace(thread) != user_namespace_) return effective_;
  return effective_ & ~Effective(thread);
}

int SetSyncWakeUp(int listener) {
  return Result(
      ::ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP));
}

int Receive(int listener, Notification* out) {
  seccomp_notif notification = {};
  int result;
  do {
    result = ::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notification);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return -errno;
  out->id = notification.id;
  out->thread = notification.pid;
  out->architecture = notification.data.arch;
  out->number = notification.data.nr;
  std::copy_n(notification.data.args, 6, out->arguments);
  return 0;
}

int Check(int listener, uint64_t id) {
  return Result(::ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id));
}

int Respond(int listener, uint64_t id, int64_t value, int error) {
  seccomp_notif_resp response = {};
  response.id = id;
  response.val = value;
  response.error = -error;
  return Result(::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response));
}

int Continue(int listener, uint64_t id) {
  seccomp_notif_resp response = {};
  response.id = id;
  response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  return Result(::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response));
}

int RespondDescriptor(int listener, uint64_t id, int descriptor, bool close_on_exec) {
  return AddDescriptor(listener, id, descriptor, SECCOMP_ADDFD_FLAG_SEND, 0, close_on_exec);
}

int ReplaceDescriptor(int listener, uint64_t id, int descriptor, int number, bool close_on_exec) {
  return AddDescriptor(listener, id, descriptor, SECCOMP_ADDFD_FLAG_SETFD, number, close_on_exec);
}

ssize_t ReadParts(pid_t thread, const iovec* local, size_t locals, const iovec* parts,
                  size_t count) {
  const ssize_t got = ::process_vm_readv(thread, local, locals, parts, count, 0);
  if (got >= 0) return got;
  if (errno != EPERM && errno != ENOSYS) return -errno;
  const int refused = errno;
  char path[64];
  ::snprintf(path, sizeof path, "/proc/%d/mem", thread);
  const unique_fd memory(::open(path, O_RDONLY | O_CLOEXEC));
  if (!memory.valid()) return -refused;
  ::snprintf(path, sizeof path, "/proc/%d/maps", thread);
  Mapping mapping;
  ssize_t done = 0;
  size_t filled = 0;
  for (size_t i = 0; i < count; ++i) {
    auto address = reinterpret_cast<uint64_t>(parts[i].iov_base);
    for (size_t left = parts[i].iov_len; left > 0;) {
      while (filled == local->iov_len) {
        ++local;
        filled = 0;
      }
      if (address < mapping.start || mapping.end <= address) {
        unique_fd maps(::open(path, O_RDONLY | O_CLOEXEC));
        if (!FindMapping(std::move(maps), address, &mapping)) mapping = {};
      }
      // The file would show it.
      if (!mapping.readable) return done == 0 ? -EFAULT : done;
      const size_t size =
          std::min({left, local->iov_len - filled, static_cast<size_t>(mapping.end - address)});
      const ssize_t read = ::pread(memory.get(), static_cast<uint8_t*>(local->iov_base) + filled,
                                   size, static_cast<off_t>(address));
      if (read <= 0) return done == 0 ? -EFAULT : done;
      done += read;
      filled += static_cast<size_t>(read);
      address += static_cast<uint64_t>(read);
      left -= static_cast<size_t>(read);
    }
  }
  return done;
}

ssize_t ReadMemory(pid_t thread, uint64_t address, void* buffer, size_t length) {
  // A copy ends at the first part that is not completely mapped, so the parts are pages.
  size_t done = 0;
  while (done < length) {
    iovec remote[64];
    size_t count = 0;
    size_t asked = 0;
    while (count < 64 && done + asked < length) {
      const uint64_t from = address + done + asked;
      const size_t size =
          std::min(length - done - asked, kPage - static_cast<size_t>(from % kPage));
      remote[count++] = {reinterpret_cast<void*>(from), size};
      asked += size;
    }
    iovec local = {static_cast<uint8_t*>(buffer) + done, asked};
    const ssize_t got = ReadParts(thread, &local, 1, remote, count);
    if (got < 0 && got != -EFAULT) return got;
    if (got <= 0) break;
    done += static_cast<size_t>(got);
    if (static_cast<size_t>(got) < asked) break;
  }
  return static_cast<ssize_t>(done);
}

int Identify(pid_t thread, int descriptor, uint64_t* identity) {
  char path[64];
  ::snprintf(path, sizeof path, "/proc/%d/fd/%d", thread, descriptor);
  struct stat status;
  if (::stat(path, &status) < 0) return errno == ENOENT ? -EBADF : -errno;
  const mode_t type = status.st_mode & S_IFMT;
  *identity = 0;
  if (S_ISSOCK(type)) {
    *identity = kSockets | status.st_ino;
  } else if (S_ISREG(type) && status.st_dev == SharedMemoryDevice()) {
    *identity = kMemories | status.st_ino;
  } else if (type == 0) {
    // Anonymous inodes have no type, and all of them are one inode.
    uint64_t number = 0;
    if (EventNumber(thread, descriptor, &number)) *identity = kEvents | number;
  }
  return 0;
}

bool IsOfAnother(const Notification& call) {
  if (call.architecture != kArchitecture) return false;
  const auto thread = static_cast<pid_t>(call.thread);
  size_t argument = 0;
  switch (call.number) {
    case SYS_read:
    case SYS_write:
    case SYS_fcntl:
    case SYS_fstat:
    case SYS_fstatfs:
    case SYS_fchdir:
    case SYS_getdents64:
    case SYS_lseek:
    case SYS_setns:
      break;
    case SYS_mmap:
      argument = 4;
      break;
    case SYS_ioctl:
      if (static_cast<uint32_t>(call.arguments[1]) != FIONREAD) return false;
      break;
    case SYS_newfstatat:
    case SYS_statx: {
      const uint64_t flags = call.arguments[call.number == SYS_statx ? 2 : 3];
      char first = 0;
      if ((flags & AT_EMPTY_PATH) == 0) return false;
      // A null pointer is an empty path as well.
      if (call.arguments[1] != 0 && ReadMemory(thread, call.arguments[1], &first, 1) != 1) {
        return false;
      }
      if (first != '\0') return false;
      break;
    }
    default:
      return false;
  }
  char path[64];
  ::snprintf(path, sizeof path, "/proc/%d/fd/%d", thread,
             static_cast<int>(call.arguments[argument]));
  struct stat status;
  return ::stat(path, &status) < 0 || !MayStandForAnObject(status);
}

int ShareMemory(size_t size, const char* name, void** address) {
  const int descriptor = ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return -errno;
  void* memory = MAP_FAILED;
  if (::ftruncate(descriptor, static_cast<off_t>(size)) == 0) {
    memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  }
  if (memory == MAP_FAILED) {
    const int error = errno;
    ::close(descriptor);
    return -error;
  }
  *address = memory;
  return descriptor;
}

int SealMemory(int descriptor) {
  if (::lseek(descriptor, 0, SEEK_END) < 0) return -errno;
  return Result(::fcntl(descriptor, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL));
}

int ReadableCopy(int descriptor) {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  unique_fd copy(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!copy.valid() || ::lseek(copy.get(), 0, SEEK_END) < 0) return -errno;
  return copy.release();
}

int SetEvent(int descriptor, bool ready) {
  // The program shares the open file description, and so its flags and its counter.
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0) return -errno;
  if ((flags & O_NONBLOCK) == 0) ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
  uint64_t count = 1;
  const ssize_t done =
      ready ? ::write(descriptor, &count, sizeof count) : ::read(descriptor, &count, sizeof count);
  return done >= 0 || errno == EAGAIN ? 0 : -errno;
}

int MakeEvent() { return Result(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

}  // namespace waep::seccomp
