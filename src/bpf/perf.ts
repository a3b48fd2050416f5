/* What perf_event_open(2) takes. Kernel source: include/uapi/linux/perf_event.h. */
import { s32, since, struct, u32, u64 } from './rows.js';

/** `struct perf_event_attr`. Unions have the name of the member that is meant here. */
export const PERF_EVENT_ATTR = struct('struct perf_event_attr', {
  type: u32(0),
  size: u32(4),
  config: u64(8),
  sample_period: u64(16),
  sample_type: u64(24),
  read_format: u64(32),
  wakeup_events: u32(48),
  bp_type: u32(52),
  // Or a pointer to the name of a function (`kprobe_func`) or of a file (`uprobe_path`).
  config1: u64(56),
  // Or an address (`kprobe_addr`), or the offset of a probe (`probe_offset`).
  config2: u64(64),
  branch_sample_type: u64(72),
  sample_regs_user: u64(80),
  sample_stack_user: u32(88),
  clockid: s32(92),
  sample_regs_intr: u64(96),
  aux_watermark: u32(104),
  aux_sample_size: u32(112),
  sig_data: since('5.13', u64(120)),
});

/**
 * The 64 flags between `read_format` and `wakeup_events`, which C has as bit fields: the byte offset
 * of their word, and which bit of it each is.
 */
export const PERF_EVENT_FLAGS = 40;
export const PerfEventBit = { disabled: 0, freq: 10, write_backward: 27, sigtrap: 37 } as const;

/** The bytes of `struct perf_event_attr` as of Linux 2.6.33: what a size of 0 stands for. */
export const PERF_ATTR_SIZE_VER0 = 64;
/** The same as of Linux 4.4, which every kernel here knows. */
export const PERF_ATTR_SIZE_VER5 = 112;
