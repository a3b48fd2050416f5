// SPDX-License-Identifier: MIT
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

// The socket calls that the TypeScript transport is made of. Each returns what the system call
// returned, or a negative errno. None of them blocks on a non-blocking descriptor.
namespace waep::sockets {

struct VsockName {
  uint32_t cid = 0;
  uint32_t port = 0;
};

int VsockSocket();
int VsockBind(int fd, VsockName name);
int VsockConnect(int fd, VsockName name);
int VsockAccept(int fd, VsockName* peer);
int VsockLocalName(int fd, VsockName* name);
int VsockLocalCid(uint32_t* cid);
int VsockSetBufferSize(int fd, uint64_t bytes);
int VsockSetConnectTimeout(int fd, uint32_t timeout_ms);

int Listen(int fd, int backlog);
int SocketError(int fd);
ssize_t Receive(int fd, void* buffer, size_t length);
// Waits until bytes or the end can be received. Returns false when nothing came in time.
bool WaitReadable(int fd, int64_t timeout_ns);
ssize_t Send(int fd, const iovec* parts, size_t count, int flags = 0);
int Shutdown(int fd, int how);
int Close(int fd);
int Duplicate(int fd);
int SocketPair(int pair[2]);
// pipe2(2): pair[0] is read from, pair[1] written to.
int Pipe(int pair[2]);
// Makes a pair of sockets. pair[1] can be neither read (EINVAL) nor written (ENOTCONN). pair[0]
// reports when the last copy of pair[1] is closed.
int DeafPair(int pair[2]);
// A SOCK_SEQPACKET pair, which keeps messages apart.
int MessagePair(int pair[2]);
// sendmsg(2), with a copy of `descriptor` unless that is negative.
ssize_t SendMessage(int fd, const iovec* parts, size_t count, int descriptor, int flags);
// recvmsg(2) of one message. `*descriptor` becomes the descriptor that came with it, or -1. Returns
// -EMSGSIZE if the message is longer than `length`.
ssize_t ReceiveMessage(int fd, void* buffer, size_t length, int* descriptor);
int SetNonBlocking(int fd, bool on);
// Sets how long a receive, and a send, may wait on a blocking socket before it fails with -EAGAIN.
// 0 means without bound.
int SetTimeouts(int fd, uint32_t timeout_ms);
// Returns whether the socket is an AF_UNIX one.
bool IsUnix(int fd);
// Turns off Nagle's algorithm if the socket has it. Sockets of other families stay as they are.
void SetNoDelay(int fd);

}  // namespace waep::sockets
