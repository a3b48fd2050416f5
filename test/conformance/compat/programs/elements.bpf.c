// SPDX-License-Identifier: GPL-2.0
// An iterator over the elements of a map that is named when it is attached.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct bpf_iter_meta {
  struct seq_file *seq;
  __u64 session_id;
  __u64 seq_num;
} __attribute__((preserve_access_index));

struct bpf_map;

struct bpf_iter__bpf_map_elem {
  struct bpf_iter_meta *meta;
  struct bpf_map *map;
  void *key;
  void *value;
} __attribute__((preserve_access_index));

SEC("iter/bpf_map_elem")
int each_element(struct bpf_iter__bpf_map_elem *context) {
  const __u32 *key = context->key;
  const __u32 *value = context->value;
  if (key == 0 || value == 0) return 0;
  static const char format[] = "%u: %u\n";
  const __u64 both[] = {*key, *value};
  bpf_seq_printf(context->meta->seq, format, sizeof format, both, sizeof both);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
