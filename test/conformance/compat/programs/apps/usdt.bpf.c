// SPDX-License-Identifier: GPL-2.0
// Reports the arguments of a probe that a program has for this purpose (USDT).
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

struct {
  __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
  __uint(key_size, 4);
  __uint(value_size, 4);
} told SEC(".maps");

SEC("usdt")
int BPF_USDT(on_step, int number, int constant) {
  const long long values[] = {number, constant, bpf_usdt_arg_cnt(ctx), bpf_usdt_cookie(ctx)};
  bpf_perf_event_output(ctx, &told, BPF_F_CURRENT_CPU, (void *)values, sizeof values);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
