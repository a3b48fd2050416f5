// SPDX-License-Identifier: GPL-2.0
// Reports through a ring buffer which programs begin and end. It reads the kernel's structures by
// names of fields, whose places libbpf finds in the types of the kernel (CO-RE).
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_core_read.h>

#include "bootstrap.h"

struct task_struct {
  int pid;
  int tgid;
  int exit_code;
  struct task_struct *real_parent;
  char comm[16];
} __attribute__((preserve_access_index));

struct trace_event_raw_sched_process_exec {
  unsigned int __data_loc_filename;
} __attribute__((preserve_access_index));

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 256 * 1024);
} reports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, int);
  __type(value, unsigned long long);
} begins SEC(".maps");

static struct report *about(struct task_struct *task) {
  struct report *report = bpf_ringbuf_reserve(&reports, sizeof *report, 0);
  if (report == 0) return 0;
  __builtin_memset(report, 0, sizeof *report);
  bpf_get_current_comm(report->command, sizeof report->command);
  BPF_CORE_READ_STR_INTO(&report->parent, task, real_parent, comm);
  return report;
}

SEC("tp/sched/sched_process_exec")
int on_exec(struct trace_event_raw_sched_process_exec *context) {
  const int process = (int)(bpf_get_current_pid_tgid() >> 32);
  const unsigned long long now = bpf_ktime_get_ns();
  bpf_map_update_elem(&begins, &process, &now, BPF_ANY);
  struct report *report = about((struct task_struct *)bpf_get_current_task());
  if (report == 0) return 0;
  const unsigned int offset = BPF_CORE_READ(context, __data_loc_filename) & 0xffff;
  bpf_probe_read_kernel_str(report->file, sizeof report->file, (char *)context + offset);
  bpf_ringbuf_submit(report, 0);
  return 0;
}

SEC("tp/sched/sched_process_exit")
int on_exit(void *context) {
  (void)context;
  const unsigned long long ids = bpf_get_current_pid_tgid();
  const int process = (int)(ids >> 32);
  if (process != (int)ids) return 0;
  const unsigned long long *began = bpf_map_lookup_elem(&begins, &process);
  if (began == 0) return 0;
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  struct report *report = about(task);
  if (report != 0) {
    report->ended = 1;
    report->status = BPF_CORE_READ(task, exit_code) >> 8 & 0xff;
    report->lasted = bpf_ktime_get_ns() > *began;
    bpf_ringbuf_submit(report, 0);
  }
  bpf_map_delete_elem(&begins, &process);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
