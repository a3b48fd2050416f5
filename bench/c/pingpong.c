// SPDX-License-Identifier: MIT
//
// The physical limit of a transport: a request and a reply of given sizes, one at a time, between two
// plain C programs that block in read(2).
//
//   pingpong serve ADDRESS
//   pingpong client ADDRESS --request BYTES --reply BYTES --warmup N --count N [--pause NS]
//   pingpong bulk ADDRESS --request BYTES --reply BYTES --count N
//   pingpong cid
//
// A connection begins with eight bytes from the client, the sizes of its requests and replies as
// 32-bit little-endian numbers. The server says "listening" once it does. The client prints one
// round-trip time in nanoseconds per line, in the order they were measured. In bulk it sends all
// requests before it receives the replies, and prints the whole time; either must fit into what the
// transport holds, so one of the sizes should be 1. cid prints this machine's context identifier.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
// After sys/socket.h, which it needs.
#include <linux/vm_sockets.h>
#include <unistd.h>

#include "address.h"
#include "clock.h"

enum { MAX_MESSAGE_BYTES = 16 * 1024 * 1024 };

struct sizes {
  uint32_t request;
  uint32_t reply;
};

// Returns whether all of it arrived.
static int read_all(int fd, char* bytes, size_t length) {
  size_t done = 0;
  while (done < length) {
    const ssize_t got = recv(fd, bytes + done, length - done, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return 0;
    done += (size_t)got;
  }
  return 1;
}

static int write_all(int fd, const char* bytes, size_t length) {
  size_t done = 0;
  while (done < length) {
    const ssize_t put = send(fd, bytes + done, length - done, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return 0;
    done += (size_t)put;
  }
  return 1;
}

// Memory that has been touched, so that no page fault falls into a measurement.
static char* touched(size_t length) {
  char* bytes = malloc(length);
  if (bytes == NULL) {
    perror("malloc");
    exit(1);
  }
  memset(bytes, 0x5a, length);
  return bytes;
}

static void answer(int fd) {
  struct sizes sizes;
  if (!read_all(fd, (char*)&sizes, sizeof sizes)) return;
  if (sizes.request > MAX_MESSAGE_BYTES || sizes.reply > MAX_MESSAGE_BYTES) return;
  char* request = touched(sizes.request + 1u);
  char* reply = touched(sizes.reply + 1u);
  while (read_all(fd, request, sizes.request) && write_all(fd, reply, sizes.reply)) continue;
  free(request);
  free(reply);
}

static int serve(const char* address) {
  const int listener = address_listen(address);
  signal(SIGCHLD, SIG_IGN);
  puts("listening");
  fflush(stdout);
  for (;;) {
    const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      perror("accept4");
      return 1;
    }
    address_no_delay(fd);
    const pid_t child = fork();
    if (child == 0) {
      close(listener);
      answer(fd);
      _exit(0);
    }
    close(fd);
  }
}

static int measure(const char* address, struct sizes sizes, size_t warmup, size_t count,
                   uint64_t pause_ns) {
  const int fd = address_connect(address);
  char* request = touched(sizes.request + 1u);
  char* reply = touched(sizes.reply + 1u);
  uint64_t* samples = (uint64_t*)(void*)touched((count + 1) * sizeof *samples);
  if (!write_all(fd, (const char*)&sizes, sizeof sizes)) {
    perror("send");
    return 1;
  }
  for (size_t i = 0; i < warmup + count; i++) {
    clock_sleep(pause_ns);
    const uint64_t start = clock_now_ns();
    if (!write_all(fd, request, sizes.request) || !read_all(fd, reply, sizes.reply)) {
      fprintf(stderr, "the connection to %s ended after %zu round trips\n", address, i);
      return 1;
    }
    if (i >= warmup) samples[i - warmup] = clock_now_ns() - start;
  }
  for (size_t i = 0; i < count; i++) printf("%llu\n", (unsigned long long)samples[i]);
  close(fd);
  free(request);
  free(reply);
  free(samples);
  return 0;
}

static int measure_bulk(const char* address, struct sizes sizes, size_t count) {
  const int fd = address_connect(address);
  char* request = touched(sizes.request + 1u);
  char* reply = touched(sizes.reply + 1u);
  int whole = write_all(fd, (const char*)&sizes, sizeof sizes);
  const uint64_t start = clock_now_ns();
  for (size_t i = 0; whole && i < count; i++) whole = write_all(fd, request, sizes.request);
  for (size_t i = 0; whole && i < count; i++) whole = read_all(fd, reply, sizes.reply);
  if (!whole) {
    fprintf(stderr, "the connection to %s ended early\n", address);
    return 1;
  }
  printf("%llu\n", (unsigned long long)(clock_now_ns() - start));
  close(fd);
  free(request);
  free(reply);
  return 0;
}

static int print_cid(void) {
  unsigned cid = 0;
  const int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0) {
    perror("/dev/vsock");
    return 1;
  }
  printf("%u\n", cid);
  return 0;
}

static int usage(void) {
  fputs(
      "usage: pingpong serve ADDRESS\n"
      "       pingpong client ADDRESS --request BYTES --reply BYTES --warmup N --count N "
      "[--pause NS]\n"
      "       pingpong bulk ADDRESS --request BYTES --reply BYTES --count N\n"
      "       pingpong cid\n",
      stderr);
  return 2;
}

int main(int argc, char** argv) {
  static const struct option options[] = {
      {"request", required_argument, NULL, 'q'}, {"reply", required_argument, NULL, 'p'},
      {"warmup", required_argument, NULL, 'w'},  {"count", required_argument, NULL, 'n'},
      {"pause", required_argument, NULL, 's'},   {NULL, 0, NULL, 0},
  };
  struct sizes sizes = {.request = 64, .reply = 64};
  size_t warmup = 0;
  size_t count = 1000;
  uint64_t pause_ns = 0;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 'q') sizes.request = (uint32_t)strtoul(optarg, NULL, 10);
    if (option == 'p') sizes.reply = (uint32_t)strtoul(optarg, NULL, 10);
    if (option == 'w') warmup = strtoul(optarg, NULL, 10);
    if (option == 'n') count = strtoul(optarg, NULL, 10);
    if (option == 's') pause_ns = strtoull(optarg, NULL, 10);
    if (option == '?') return usage();
  }
  if (argc - optind == 1 && strcmp(argv[optind], "cid") == 0) return print_cid();
  if (argc - optind != 2) return usage();
  if (strcmp(argv[optind], "serve") == 0) return serve(argv[optind + 1]);
  if (strcmp(argv[optind], "bulk") == 0) return measure_bulk(argv[optind + 1], sizes, count);
  if (strcmp(argv[optind], "client") == 0) {
    return measure(argv[optind + 1], sizes, warmup, count, pause_ns);
  }
  return usage();
}
