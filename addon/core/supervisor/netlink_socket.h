// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// The sockets of AF_NETLINK that a program has in place of the guest's. They are sockets for
// messages among programs (NETLINK_USERSOCK), so that bind(2), poll(2) and getsockname(2) of this
// machine's kernel answer as the guest's would. Functions return 0 or the documented value, or a
// negative errno.
namespace waep::netlink {

// Makes such a socket. Its type is SOCK_RAW or SOCK_DGRAM, with flags.
int Open(int type);

// Gives a socket a port if it has none, and returns the port.
int64_t Port(int socket, uint32_t wanted);

// Returns a copy of another process's descriptor.
int TakeCopy(pid_t thread, int descriptor);

// Makes a program's socket one that receives only from the port `from`. What others sent before is
// dropped. Sets its own port, which is the id of the thread's process unless it has one, and which
// options it has (executor/netlink.h has their bits).
int Tie(int socket, pid_t thread, uint32_t from, uint32_t* port, uint32_t* options);

// Sends a datagram to a port without waiting.
int Deliver(int socket, uint32_t port, const void* bytes, size_t length);

// Receives a datagram without waiting. Returns its length, of which no more than `length` bytes are
// in the buffer.
ssize_t Receive(int socket, void* buffer, size_t length, bool peek);

}  // namespace waep::netlink
