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
ssize_t WriteMemory(pid_t thread, uint64_t address, const void* buffer, size_t length);

// What tells apart the things that descriptors of a program may stand for an object by: sockets,
// shared memory (memfd_create) and eventfds. Equal numbers mean the same one, whoever holds it.
// 0 when it is something else; -EBADF when it is not open.
int Identify(pid_t thread, int descriptor, uint64_t* identity);

// Makes shared memory of `size` zeroes, mapped here at `*address`, and returns its descriptor.
int ShareMemory(size_t size, void** address);
int MakeEvent();

}  // namespace waep::seccomp
