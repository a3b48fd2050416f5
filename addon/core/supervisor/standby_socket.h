// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>
#include <sys/types.h>

// How `waep run` finds the standby of a guest: by a Unix socket of messages. Its name in the
// abstract namespace consists of the user's id and the guest's address as it was written. Like the
// addresses, it belongs to the network namespace.
//
// The program's side sends the program's name and its standard error. The answer is the offset of
// the guest's monotonic clock, in nanoseconds, as decimal digits; or the end of the connection if
// the guest is not available. Then follow the listener and the byte of launch.h.
//
// Each side trusts only its own user and root, because anybody can take the name.
namespace waep::standby {

// Longer names of programs are truncated.
constexpr size_t kMaxNameBytes = 255;

// Listens, without blocking. Returns a descriptor, -EADDRINUSE if there is a standby already, or
// -ENAMETOOLONG.
int Listen(const char* address);
// Accepts the next request. Returns a non-blocking descriptor, -EAGAIN when there is none, or
// -EPERM when it was another user's, which has been closed.
int Accept(int listener);
// Reads the message of the program's side when it has arrived. Writes the program's name to `name`,
// which has kMaxNameBytes, and returns its length. `*output` is the program's standard error; the
// caller closes it. `*process` is the process that becomes the program.
ssize_t Receive(int control, char* name, int* output, pid_t* process);

// Writes to a program's standard error without waiting. Returns 0, -EAGAIN if it is full, or
// another negative errno.
int Tell(int output, const char* text, size_t length);

// Connects, on the program's side. Returns a descriptor, or a negative errno.
int Ask(const char* address, const char* name, int output);
// Waits for the answer. Returns false when there is none.
bool Await(int control, long long* clock_ahead_ns);

}  // namespace waep::standby
