// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

namespace waep::seccomp {

// One system call that waits for an answer.
struct Notification {
  uint64_t id = 0;
  uint32_t thread = 0;  // as this process sees it
  uint32_t architecture = 0;
  int32_t number = 0;
  uint64_t arguments[6] = {};
  uint64_t lost = 0;  // capabilities that the thread had at the beginning and has given up
};

// The capabilities of a program at its beginning, to find out which it has given up since.
class Rights {
 public:
  // `program` is the process that becomes the program, before it does.
  explicit Rights(pid_t program);

  // Returns the capabilities that the caller has given up, as a mask.
  [[nodiscard]] uint64_t Lost(const Notification& call) const;

  // Returns whether a call may move a process into another user namespace. Such a call needs
  // nothing else and proceeds.
  bool MayMove(const Notification& call);

 private:
  uint64_t effective_ = 0;
  ino_t user_namespace_ = 0;
  bool namespaces_ = false;  // whether there may be others
};

// Functions return 0 or the documented value, or a negative errno. ENOENT: the call no longer
// waits.

// Makes the kernel wake waiting callers on this processor, which halves the time of a call.
int SetSyncWakeUp(int listener);
int Receive(int listener, Notification* out);
// Returns whether the call still waits. If so, everything that was read of its thread is valid.
int Check(int listener, uint64_t id);
// Lets the call return `value`, or fail with the positive `error`.
int Respond(int listener, uint64_t id, int64_t value, int error);
// Lets the kernel make the call.
int Continue(int listener, uint64_t id);
// Gives the caller a copy of `descriptor`, and lets the call return its number.
int RespondDescriptor(int listener, uint64_t id, int descriptor, bool close_on_exec);
// Replaces the caller's descriptor `number` by a copy of `descriptor`.
int ReplaceDescriptor(int listener, uint64_t id, int descriptor, int number, bool close_on_exec);

// Does what process_vm_readv(2) does; the parts are as long as the local memory. If a seccomp
// filter refuses that call, as those of older containers do, it reads /proc/PID/mem instead, and
// looks up which memory may be read.
ssize_t ReadParts(pid_t thread, const iovec* local, size_t locals, const iovec* parts,
                  size_t count);
// Copies memory of another process. Returns how many bytes exist from there on, up to `length`.
ssize_t ReadMemory(pid_t thread, uint64_t address, void* buffer, size_t length);

// Returns a number that identifies what a descriptor refers to, if that can stand for an object: a
// socket, shared memory (memfd_create) or an eventfd. Equal numbers mean the same one, in any
// process. Returns 0 for anything else, and -EBADF if the descriptor is not open.
int Identify(pid_t thread, int descriptor, uint64_t* identity);

// Returns whether a call is about a descriptor that certainly stands for no object. That is so for
// most calls on descriptors.
bool IsOfAnother(const Notification& call);

// Makes shared memory of `size` zeroes, mapped here at `*address`, and returns its descriptor.
// Links to it in /proc end with the name, which has 249 bytes at most.
int ShareMemory(size_t size, const char* name, void** address);
// Makes read(2) of it find nothing and write(2) fail, and seals its size.
int SealMemory(int descriptor);
// Opens shared memory once more, for reading. Its read(2) finds nothing, too.
int ReadableCopy(int descriptor);
// Makes an eventfd readable, or not, whatever the program has done to it. Never waits.
int SetEvent(int descriptor, bool ready);
int MakeEvent();

}  // namespace waep::seccomp
