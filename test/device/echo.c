// SPDX-License-Identifier: MIT
//
// echo PORT: sends back what comes over vsock, on thousands of connections at a time. A connection
// whose answers are not read is not read either.
//
// echo PORT COUNT: connects COUNT times to the host's port, and sends without an end.

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

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static void say(const char* line) {
  puts(line);
  fflush(stdout);
}

static void drop(struct connection* connection) {
  close(connection->fd);
  free(connection);
}

static void watch(int epoll, int operation, struct connection* connection, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = connection};
  epoll_ctl(epoll, operation, connection->fd, &event);
}

static void serve(int epoll, struct connection* connection) {
  for (;;) {
    while (connection->sent < connection->have) {
      const ssize_t sent = send(connection->fd, connection->bytes + connection->sent,
                                (size_t)(connection->have - connection->sent), MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) return watch(epoll, EPOLL_CTL_MOD, connection, EPOLLOUT);
      if (sent <= 0) return drop(connection);
      connection->sent += sent;
    }
    connection->sent = 0;
    connection->have = recv(connection->fd, connection->bytes, sizeof connection->bytes, 0);
    if (connection->have < 0 && errno == EAGAIN) {
      connection->have = 0;
      return watch(epoll, EPOLL_CTL_MOD, connection, EPOLLIN);
    }
    if (connection->have <= 0) return drop(connection);
  }
}

static void pour(struct connection* connection) {
  ssize_t sent;
  do {
    sent = send(connection->fd, connection->bytes, sizeof connection->bytes,
                MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent > 0);
  if (errno != EAGAIN) drop(connection);
}

static void dial(int epoll, unsigned port, int count) {
  const struct sockaddr_vm host = {
      .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port};
  for (int i = 0; i < count; i++) {
    struct connection* connection = calloc(1, sizeof *connection);
    connection->fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(connection->fd, (const struct sockaddr*)&host, sizeof host) < 0) fail("connect");
    watch(epoll, EPOLL_CTL_ADD, connection, EPOLLOUT);
  }
  say("pouring");
  for (;;) {
    struct epoll_event ready[64];
    const int ready_count = epoll_wait(epoll, ready, 64, -1);
    for (int i = 0; i < ready_count; i++) pour(ready[i].data.ptr);
  }
}

static void listen_on(int epoll, unsigned port) {
  const int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const struct sockaddr_vm name = {
      .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
  struct epoll_event event = {.events = EPOLLIN};
  if (bind(listener, (const struct sockaddr*)&name, sizeof name) < 0 ||
      listen(listener, 4096) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) {
    fail("listen");
  }
  say("listening");
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
      watch(epoll, EPOLL_CTL_ADD, connection, EPOLLIN);
    }
  }
}

int main(int argc, char** argv) {
  const struct rlimit files = {8192, 8192};
  setrlimit(RLIMIT_NOFILE, &files);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const unsigned port = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
  if (argc > 2) dial(epoll, port, atoi(argv[2]));
  listen_on(epoll, port);
  return 0;
}
