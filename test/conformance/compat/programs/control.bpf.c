// SPDX-License-Identifier: GPL-2.0
// A congestion control whose window stays as it is. The kernel's members are found by their names.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#ifndef SECTION
#define SECTION ".struct_ops"
#endif

struct sock;

struct tcp_congestion_ops {
  __u32 (*ssthresh)(struct sock *socket);
  __u32 (*undo_cwnd)(struct sock *socket);
  void (*cong_avoid)(struct sock *socket, __u32 ack, __u32 acked);
  char name[16];
};

SEC("struct_ops/threshold")
__u32 threshold(unsigned long long *context) {
  (void)context;
  return 8;
}

SEC("struct_ops/restored")
__u32 restored(unsigned long long *context) {
  (void)context;
  return 8;
}

SEC("struct_ops/avoid")
void avoid(unsigned long long *context) { (void)context; }

SEC(SECTION)
struct tcp_congestion_ops steady = {
    .ssthresh = (void *)threshold,
    .undo_cwnd = (void *)restored,
    .cong_avoid = (void *)avoid,
    .name = "waep_steady",
};

char LICENSE[] SEC("license") = "GPL";
