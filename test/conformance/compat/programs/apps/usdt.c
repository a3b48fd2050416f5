// SPDX-License-Identifier: MIT
// usdt PROGRAM PROVIDER NAME: prints the arguments of a probe of a program.
#include "application.h"
#include "usdt.skel.h"

enum { PAGES = 8, COOKIE = 42 };

static int printed;

static void print(void *context, int cpu, void *data, __u32 size) {
  (void)context;
  (void)cpu;
  const long long *values = data;
  if (size < 4 * sizeof *values) return;
  ++printed;
  printf("%lld and %lld, of %lld, with %lld\n", values[0], values[1], values[2], values[3]);
}

static void lose(void *context, int cpu, __u64 count) {
  (void)context;
  (void)cpu;
  printf("lost %llu\n", (unsigned long long)count);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  begin();
  struct usdt *skeleton = usdt__open_and_load();
  if (skeleton == NULL) return fail("load");
  LIBBPF_OPTS(bpf_usdt_opts, options, .usdt_cookie = COOKIE);
  skeleton->links.on_step =
      bpf_program__attach_usdt(skeleton->progs.on_step, -1, argv[1], argv[2], argv[3], &options);
  if (skeleton->links.on_step == NULL) return fail("attach");
  struct perf_buffer *buffer =
      perf_buffer__new(bpf_map__fd(skeleton->maps.told), PAGES, print, lose, NULL, NULL);
  if (buffer == NULL) return fail("perf buffer");
  while (!interrupted()) {
    const int polled = perf_buffer__poll(buffer, REST_MS);
    if (polled < 0 && polled != -EINTR) return fail("poll");
  }
  perf_buffer__free(buffer);
  usdt__destroy(skeleton);
  return printed == 0;
}
