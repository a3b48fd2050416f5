// SPDX-License-Identifier: MIT
//
// echo PORT: sends back what comes over vsock, on thousands of connections at a time. A connection
// whose answers are not read is not read either.

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
// After sys/socket.h, which it needs.
#include <linux/vm_sockets.h>
#include <unistd.h>

struct connection {
  int fd;
  ssize_t have;
  ssize_t sent;
  char bytes[4096];
};

static void drop(struct connection* connection) {
  close(connection->fd);
  free(connection);
}

static void serve(int epoll, struct connection* connection) {
  for (;;) {
    while (connection->sent < connection->have) {
      const ssize_t sent = send(connection->fd, connection->bytes + connection->sent,
                                (size_t)(connection->have - connection->sent), MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) {
        struct epoll_event event = {.events = EPOLLOUT, .data.ptr = connection};
        epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
        return;
      }
      if (sent <= 0) return drop(connection);
      connection->sent += sent;
    }
    connection->sent = 0;
    connection->have = recv(connection->fd, connection->bytes, sizeof connection->bytes, 0);
    if (connection->have < 0 && errno == EAGAIN) {
      connection->have = 0;
      struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
      epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
      return;
    }
    if (connection->have <= 0) return drop(connection);
  }
}

int main(int argc, char** argv) {
  const struct rlimit files = {8192, 8192};
  setrlimit(RLIMIT_NOFILE, &files);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_vm name = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
  name.svm_port = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
  struct epoll_event event = {.events = EPOLLIN};
  if (bind(listener, (const struct sockaddr*)&name, sizeof name) < 0 ||
      listen(listener, 4096) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) {
    perror("echo");
    return 1;
  }
  puts("listening");
  fflush(stdout);
  for (;;) {
    struct epoll_event ready[64];
    const int count = epoll_wait(epoll, ready, 64, -1);
    for (int i = 0; i < count; i++) {
      if (ready[i].data.ptr != NULL) {
        serve(epoll, ready[i].data.ptr);
        continue;
      }
      const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) continue;
      struct connection* connection = calloc(1, sizeof *connection);
      connection->fd = fd;
      struct epoll_event one = {.events = EPOLLIN, .data.ptr = connection};
      epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &one);
    }
  }
}
