// SPDX-License-Identifier: GPL-2.0
// Samples what each processor is at, with the stacks of kernel and program.
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>

#include <bpf/bpf_helpers.h>

#include "profile.h"

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 1024 * 1024);
} samples SEC(".maps");

SEC("perf_event")
int on_sample(struct bpf_perf_event_data *context) {
  struct sample *sample = bpf_ringbuf_reserve(&samples, sizeof *sample, 0);
  if (sample == 0) return 0;
  sample->processor = bpf_get_smp_processor_id();
  sample->process = (unsigned int)(bpf_get_current_pid_tgid() >> 32);
  bpf_get_current_comm(sample->command, sizeof sample->command);
  sample->kernel_bytes = bpf_get_stack(context, sample->kernel, sizeof sample->kernel, 0);
  sample->user_bytes = bpf_get_stack(context, sample->user, sizeof sample->user, BPF_F_USER_STACK);
  bpf_ringbuf_submit(sample, 0);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
