// SPDX-License-Identifier: GPL-2.0
// Reports each getppid(2) of processes whose name begins with "stimulus" through a ring buffer and
// through a perf buffer, and counts the calls in a global.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "events.h"

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 65536);
} ring SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
  __uint(key_size, 4);
  __uint(value_size, 4);
} perf SEC(".maps");

const volatile __u64 first = 0;
__u64 seen = 0;

static const char wanted[] = "stimulus";

SEC("tracepoint/syscalls/sys_enter_getppid")
int on_getppid(void *context) {
  struct event event = {};
  bpf_get_current_comm(event.comm, sizeof event.comm);
  for (unsigned i = 0; i < sizeof wanted - 1; ++i) {
    if (event.comm[i] != wanted[i]) return 0;
  }
  event.number = first + __sync_fetch_and_add(&seen, 1);
  bpf_ringbuf_output(&ring, &event, sizeof event, 0);
  bpf_perf_event_output(context, &perf, BPF_F_CURRENT_CPU, &event, sizeof event);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
