// SPDX-License-Identifier: GPL-2.0
// An iterator over the guest's maps, which prints one line for each.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct bpf_iter_meta {
  struct seq_file *seq;
  __u64 session_id;
  __u64 seq_num;
} __attribute__((preserve_access_index));

struct bpf_map {
  __u32 key_size;
  __u32 value_size;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_map {
  struct bpf_iter_meta *meta;
  struct bpf_map *map;
} __attribute__((preserve_access_index));

SEC("iter/bpf_map")
int each_map(struct bpf_iter__bpf_map *context) {
  struct bpf_map *map = context->map;
  if (map == 0) return 0;
  static const char format[] = "key %u value %u\n";
  const __u64 sizes[] = {map->key_size, map->value_size};
  bpf_seq_printf(context->meta->seq, format, sizeof format, sizes, sizeof sizes);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
