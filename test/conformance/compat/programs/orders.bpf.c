// SPDX-License-Identifier: GPL-2.0
// Takes an application's records from a user ring buffer whenever a process whose name begins with
// "stimulus" calls getppid(2), and adds them up in a global.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_USER_RINGBUF);
  __uint(max_entries, 4096);
} orders SEC(".maps");

__u64 taken = 0;
__u64 sum = 0;

static const char wanted[] = "stimulus";

static long take(struct bpf_dynptr *order, void *context) {
  __u64 number = 0;
  (void)context;
  if (bpf_dynptr_read(&number, sizeof number, order, 0, 0) != 0) return 1;
  sum += number;
  ++taken;
  return 0;
}

SEC("tracepoint/syscalls/sys_enter_getppid")
int on_getppid(void *context) {
  char name[16];
  (void)context;
  bpf_get_current_comm(name, sizeof name);
  for (unsigned i = 0; i < sizeof wanted - 1; ++i) {
    if (name[i] != wanted[i]) return 0;
  }
  bpf_user_ringbuf_drain(&orders, take, 0, 0);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
