// SPDX-License-Identifier: GPL-2.0
// Sums the argument of a function of a program, and what the function returns.
#include <linux/bpf.h>
#include <linux/ptrace.h>

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_tracing.h>

unsigned long long calls;
unsigned long long arguments;
unsigned long long returns;
unsigned long long results;

SEC("uprobe")
int BPF_KPROBE(on_entry, int number) {
  __sync_fetch_and_add(&calls, 1);
  __sync_fetch_and_add(&arguments, (unsigned long long)number);
  return 0;
}

SEC("uretprobe")
int BPF_KRETPROBE(on_return, int result) {
  __sync_fetch_and_add(&returns, 1);
  __sync_fetch_and_add(&results, (unsigned long long)result);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
