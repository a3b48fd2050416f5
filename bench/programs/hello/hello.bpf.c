// SPDX-License-Identifier: GPL-2.0
// The program of the thesis' Figure 2: prints a line whenever a program is executed.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

enum { EXECVE = 59 };

SEC("raw_tracepoint/sys_enter")
int hello(struct bpf_raw_tracepoint_args *context) {
  if (context->args[1] == EXECVE) bpf_printk("Hello World!");
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
