// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

namespace waep::seccomp {

// One system call that waits for an answer.
struct Notification {
  uint64_t id = 0;
  uint32_t thread = 0;  // as this process sees it
  uint32_t architecture = 0;
  int32_t number = 0;
  uint64_t arguments[6] = {};
  uint64_t lost = 0;  // capabilities that the thread had at the beginning, and has not any more
};

// What a program had at the beginning, to tell what it has given up since.
class Rights {
 public:
  // Those that the caller does not have any more, as a mask, for calls that the guest makes. The
  // first call that is asked about is the one at the beginning.
  uint64_t Lost(const Notification& call);

  // Whether a call is one by which a process comes into another user namespace, and nothing else is
  // to be done about it.
  bool MayMove(const Notification& call);

 private:
  bool known_ = false;
  uint64_t effective_ = 0;
  ino_t user_namespace_ = 0;
  bool namespaces_ = false;  // whether there may be others
};

// Functions return 0 or what they say, or a negative errno. ENOENT: the call waits no more.

// Has waiting callers woken on this processor, which halves the price of a call.
int SetSyncWakeUp(int listener);
int Receive(int listener, Notification* out);
// Whether the thread is still the one that made the call: what was read of it can be trusted.
int Check(int listener, uint64_t id);
// Lets the call return `value`, or fail with the positive `error`.
int Respond(int listener, uint64_t id, int64_t value, int error);
// Has the kernel make the call after all.
int Continue(int listener, uint64_t id);
// Gives the caller a copy of `descriptor`, and lets the call return its number.
int RespondDescriptor(int listener, uint64_t id, int descriptor, bool close_on_exec);
// Puts a copy of `descriptor` in the place of the caller's descriptor `number`.
int ReplaceDescriptor(int listener, uint64_t id, int descriptor, int number, bool close_on_exec);

// Copies memory of another process; returns how many bytes it has from there on, up to `length`.
ssize_t ReadMemory(pid_t thread, uint64_t address, void* buffer, size_t length);

// What tells apart the things that descriptors of a program may stand for an object by: sockets,
// shared memory (memfd_create) and eventfds. Equal numbers mean the same one, whoever holds it.
// 0 when it is something else; -EBADF when it is not open.
int Identify(pid_t thread, int descriptor, uint64_t* identity);

// Whether a call is about a descriptor that certainly stands for no object: most calls are that are
// handed over only for what they do to such a descriptor.
bool IsOfAnother(const Notification& call);

// Makes shared memory of `size` zeroes, mapped here at `*address`, and returns its descriptor.
int ShareMemory(size_t size, void** address);
// Has read(2) of it find nothing and write(2) fail, and keeps its size.
int SealMemory(int descriptor);
int MakeEvent();

}  // namespace waep::seccomp
