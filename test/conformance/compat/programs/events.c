// SPDX-License-Identifier: MIT
// An application of libbpf. It loads events.bpf.o, and prints a number of records from its buffers.
// It is built with several versions of libbpf.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "events.h"

enum { WANTED = 3, POLL_MS = 200, POLLS = 300 };

static int got;

static int on_ring(void *context, void *data, size_t size) {
  (void)context;
  const struct event *event = data;
  if (size >= sizeof *event && got++ < WANTED) printf("ring: %s\n", event->comm);
  return 0;
}

static void on_perf(void *context, int cpu, void *data, __u32 size) {
  (void)cpu;
  on_ring(context, data, size);
}

static void on_lost(void *context, int cpu, __u64 count) {
  (void)context;
  printf("lost %llu on CPU %d\n", (unsigned long long)count, cpu);
}

static int fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  return 1;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments) {
  return level == LIBBPF_WARN ? vfprintf(stderr, format, arguments) : 0;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const bool rings = strcmp(argv[2], "ring") == 0;
  libbpf_set_print(quiet);
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
  if (object == NULL) return fail("open");
  if (bpf_object__load(object) != 0) return fail("load");
  struct bpf_program *program = bpf_object__find_program_by_name(object, "on_getppid");
  struct bpf_link *link = bpf_program__attach(program);
  if (link == NULL) return fail("attach");
  const int map = bpf_object__find_map_fd_by_name(object, rings ? "ring" : "perf");
  struct ring_buffer *ring = rings ? ring_buffer__new(map, on_ring, NULL, NULL) : NULL;
  struct perf_buffer *perf =
      rings ? NULL : perf_buffer__new(map, 8, on_perf, on_lost, NULL, NULL);
  if (ring == NULL && perf == NULL) return fail("buffer");
  for (int i = 0; i < POLLS && got < WANTED; ++i) {
    const int polled = rings ? ring_buffer__poll(ring, POLL_MS) : perf_buffer__poll(perf, POLL_MS);
    if (polled < 0 && polled != -EINTR) return fail("poll");
  }
  printf("%s\n", got < WANTED ? "too few" : "enough");
  ring_buffer__free(ring);
  perf_buffer__free(perf);
  bpf_link__destroy(link);
  bpf_object__close(object);
  return got < WANTED;
}
