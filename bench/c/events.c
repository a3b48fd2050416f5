// SPDX-License-Identifier: MIT
//
// Makes events, and reads them as a C program in the guest would, to compare with reading them from
// outside. A program that is attached to raw_tracepoint/sys_enter emits a record at every
// getpgid(2).
//
//   events drive --count N --pause NS        so many calls, each so long after the one before; it
//                                            sleeps through pauses of 1 ms and more
//   events consume --map ID --size BYTES --count N --pause NS --nice N
//                                            the same, in a child, and reads the ring buffer with
//                                            this id at this priority; prints "delivered RECORDS NANOSECONDS", from
//                                            the first record to the last

#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

enum { PAGE = 4096, SLEEP_NS = 1000000 };

struct settings {
  uint32_t map;
  uint64_t size, count, pause_ns;
  int nice;
};

static void fail(const char* why) {
  fprintf(stderr, "events: %s: %s\n", why, strerror(errno));
  exit(1);
}

static void drive(const struct settings* settings) {
  uint64_t due = clock_now_ns();
  for (uint64_t i = 0; i < settings->count; i++) {
    syscall(SYS_getpgid, 0);
    if (settings->pause_ns == 0) continue;
    due += settings->pause_ns;
    if (settings->pause_ns >= SLEEP_NS) {
      const struct timespec until = {(time_t)(due / 1000000000), (long)(due % 1000000000)};
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    while (clock_now_ns() < due) {
    }
  }
}

struct ring {
  int fd;
  uint64_t size;
  uint64_t* consumer;
  const uint64_t* producer;
  const uint8_t* data;
};

static struct ring open_ring(uint32_t id, uint64_t size) {
  union bpf_attr attr = {0};
  attr.map_id = id;
  struct ring ring = {.size = size};
  ring.fd = (int)syscall(SYS_bpf, BPF_MAP_GET_FD_BY_ID, &attr, sizeof attr);
  if (ring.fd < 0) fail("BPF_MAP_GET_FD_BY_ID");
  void* consumer = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, 0);
  void* producer = mmap(NULL, PAGE + 2 * size, PROT_READ, MAP_SHARED, ring.fd, PAGE);
  if (consumer == MAP_FAILED || producer == MAP_FAILED) fail("mmap");
  ring.consumer = consumer;
  ring.producer = producer;
  ring.data = (const uint8_t*)producer + PAGE;
  return ring;
}

// Reads what is there, as ring_buffer__poll() of libbpf does; returns how many records there were.
static uint64_t take(const struct ring* ring, uint64_t* sum) {
  uint64_t records = 0;
  uint64_t at = *ring->consumer;
  while (at < __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE)) {
    const uint8_t* record = ring->data + (at & (ring->size - 1));
    const uint32_t header = __atomic_load_n((const uint32_t*)record, __ATOMIC_ACQUIRE);
    if ((header & BPF_RINGBUF_BUSY_BIT) != 0) break;
    const uint32_t length = header & ~BPF_RINGBUF_DISCARD_BIT;
    if (header == length) {
      uint64_t first;
      memcpy(&first, record + BPF_RINGBUF_HDR_SZ, sizeof first);
      *sum += first;
      records++;
    }
    at += (length + BPF_RINGBUF_HDR_SZ + 7) & ~UINT64_C(7);
    __atomic_store_n(ring->consumer, at, __ATOMIC_RELEASE);
  }
  return records;
}

static void consume(const struct settings* settings) {
  const struct ring ring = open_ring(settings->map, settings->size);
  const int poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, ring.fd, &event) < 0) fail("epoll");
  const pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    drive(settings);
    _exit(0);
  }
  if (setpriority(PRIO_PROCESS, 0, settings->nice) < 0) fail("setpriority");
  uint64_t delivered = 0, sum = 0, first_ns = 0, last_ns = 0;
  for (int over = 0;;) {
    const uint64_t records = take(&ring, &sum);
    if (records > 0) {
      last_ns = clock_now_ns();
      if (first_ns == 0) first_ns = last_ns;
      delivered += records;
      continue;
    }
    if (over) break;
    epoll_wait(poller, &event, 1, 10);
    over = waitpid(child, NULL, WNOHANG) == child;
  }
  printf("delivered %llu %llu\n", (unsigned long long)delivered,
         (unsigned long long)(last_ns - first_ns));
}

int main(int argc, char** argv) {
  static const struct option options[] = {
      {"map", required_argument, NULL, 'm'},
      {"size", required_argument, NULL, 's'},
      {"count", required_argument, NULL, 'c'},
      {"pause", required_argument, NULL, 'p'},
      {"nice", required_argument, NULL, 'n'},
      {0},
  };
  struct settings settings = {0};
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == '?') return 2;
    const uint64_t value = strtoull(optarg, NULL, 10);
    if (option == 'm') settings.map = (uint32_t)value;
    if (option == 's') settings.size = value;
    if (option == 'c') settings.count = value;
    if (option == 'p') settings.pause_ns = value;
    if (option == 'n') settings.nice = atoi(optarg);
  }
  const char* what = optind < argc ? argv[optind] : "";
  if (strcmp(what, "drive") == 0) {
    drive(&settings);
  } else if (strcmp(what, "consume") == 0) {
    consume(&settings);
  } else {
    fprintf(stderr, "usage: events drive|consume ...\n");
    return 2;
  }
  return 0;
}
