// SPDX-License-Identifier: GPL-2.0
// A program for xdp-loader, which takes all programs of a file.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} frames SEC(".maps");

SEC("xdp")
int count_frames(struct xdp_md *context) {
  (void)context;
  const __u32 key = 0;
  __u64 *value = bpf_map_lookup_elem(&frames, &key);
  if (value != 0) *value += 1;
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
