// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>
#include <sys/types.h>

// How a program that is to run on a guest finds the process that stands by for that guest: a Unix
// socket of messages, whose name in the abstract namespace is the user's number and the guest's
// address as it was given. It belongs to the network namespace, like the addresses.
//
// The program's side says its name, and passes its standard error. The answer is how far the
// guest's monotonic clock is ahead, in nanoseconds, as decimal digits; or an end, when the guest
// cannot be had. Then follow the listener and the byte of launch.h.
//
// Both sides trust only their own user, or root: anybody could have taken the name.
namespace waep::standby {

// Names of programs that are longer are cut off.
constexpr size_t kMaxNameBytes = 255;

// Listens, without blocking; returns a descriptor. -EADDRINUSE: somebody stands by already;
// -ENAMETOOLONG.
int Listen(const char* address);
// Takes the next request, or returns a negative errno: -EAGAIN when there is none, -EPERM when it
// was somebody else's, which has been turned away. The descriptor returned does not block.
int Accept(int listener);
// Reads what the program's side says, once it is there: its name into `name`, which has room for
// kMaxNameBytes; returns the length. `*output` is its standard error, the caller's to close.
ssize_t Receive(int control, char* name, int* output);

// Writes to a program's standard error, if that takes it without waiting. Returns 0, or -EAGAIN: it
// is full; or another negative errno.
int Tell(int output, const char* text, size_t length);

// The program's side. Returns a descriptor, or a negative errno.
int Ask(const char* address, const char* name, int output);
// Waits for the answer. False when there is none.
bool Await(int control, long long* clock_ahead_ns);

}  // namespace waep::standby
