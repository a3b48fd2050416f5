// SPDX-License-Identifier: MIT
// An application of libbpf: loads orders.bpf.o, submits more records to its user ring buffer than fit
// in at once, and waits until the program has taken all of them.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ORDERS = 400, WAIT_MS = 30000, LOOK_US = 50000 };

static int fail(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
  if (object == NULL) return fail("open");
  if (bpf_object__load(object) != 0) return fail("load");
  struct bpf_program *program = bpf_object__find_program_by_name(object, "on_getppid");
  struct bpf_link *link = bpf_program__attach(program);
  if (link == NULL) return fail("attach");
  const int map = bpf_object__find_map_fd_by_name(object, "orders");
  const int globals = bpf_object__find_map_fd_by_name(object, ".bss");
  struct user_ring_buffer *ring = user_ring_buffer__new(map, NULL);
  if (ring == NULL) return fail("ring");
  for (uint64_t i = 1; i <= ORDERS; ++i) {
    uint64_t *order = user_ring_buffer__reserve_blocking(ring, sizeof *order, WAIT_MS);
    if (order == NULL) return fail("reserve");
    *order = i;
    user_ring_buffer__submit(ring, order);
  }
  uint64_t counts[2] = {0};
  const uint32_t key = 0;
  for (int i = 0; i < WAIT_MS * 1000 / LOOK_US && counts[0] < ORDERS; ++i) {
    usleep(LOOK_US);
    if (bpf_map_lookup_elem(globals, &key, counts) != 0) return fail("globals");
  }
  printf("%llu taken, %llu in all\n", (unsigned long long)counts[0], (unsigned long long)counts[1]);
  user_ring_buffer__free(ring);
  bpf_link__destroy(link);
  bpf_object__close(object);
  return counts[0] < ORDERS;
}
