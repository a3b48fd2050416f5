// SPDX-License-Identifier: GPL-2.0
// An object file for bpftool to load: maps of several types, and programs with globals.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, __u64);
} counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, __u64);
} per_cpu SEC(".maps");

const volatile __u32 step = 3;
__u64 calls;

SEC("raw_tracepoint/sys_enter")
int count_calls(void *context) {
  (void)context;
  const __u32 key = step;
  calls += step;
  bpf_map_update_elem(&counts, &key, &calls, BPF_ANY);
  return 0;
}

SEC("tracepoint/syscalls/sys_enter_getppid")
int count_getppid(void *context) {
  (void)context;
  const __u32 key = 0;
  __u64 *value = bpf_map_lookup_elem(&per_cpu, &key);
  if (value != 0) *value += 1;
  return 0;
}

SEC("socket")
int first_byte(struct __sk_buff *packet) { return packet->len > 0 ? 1 : 0; }

SEC("xdp")
int pass_all(struct xdp_md *context) {
  (void)context;
  return XDP_PASS;
}

SEC("cgroup_skb/egress")
int allow_all(struct __sk_buff *packet) {
  (void)packet;
  return 1;
}

char LICENSE[] SEC("license") = "GPL";
