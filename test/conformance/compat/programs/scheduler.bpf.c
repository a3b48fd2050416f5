// SPDX-License-Identifier: GPL-2.0
// The smallest scheduler of sched_ext. The kernel itself queues the tasks, first come, first served.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct task_struct;

struct sched_ext_ops {
  void (*running)(struct task_struct *task);
  __u32 timeout_ms;
  char name[128];
};

SEC("struct_ops/running")
void running(unsigned long long *context) { (void)context; }

SEC(".struct_ops.link")
struct sched_ext_ops plain = {
    .running = (void *)running,
    .timeout_ms = 5000,
    .name = "waep_plain",
};

char LICENSE[] SEC("license") = "GPL";
