/* The arguments of perf_event_open(2). Kernel source: include/uapi/linux/perf_event.h. */
import { PerfIoctl } from './enums.js';
import { s32, since, struct, type Use, u32, u64 } from './rows.js';

/** `struct perf_event_attr`. A union has the name of the member that is used here. */
export const PERF_EVENT_ATTR = struct('struct perf_event_attr', {
  type: u32(0),
  size: u32(4),
  config: u64(8),
  sample_period: u64(16),
  sample_type: u64(24),
  read_format: u64(32),
  wakeup_events: u32(48),
  bp_type: u32(52),
  // May be a pointer to the name of a function (`kprobe_func`) or of a file (`uprobe_path`).
  config1: u64(56),
  // May be an address (`kprobe_addr`), or the offset of a probe (`probe_offset`).
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
 * The 64 flags between `read_format` and `wakeup_events`, which are bit fields in C: the byte
 * offset of their word, and the bit of each flag.
 */
export const PERF_EVENT_FLAGS = 40;
export const PerfEventBit = {
  disabled: 0,
  inherit: 1,
  freq: 10,
  enable_on_exec: 12,
  sample_id_all: 18,
  write_backward: 27,
  inherit_thread: 35,
  sigtrap: 37,
} as const;

/**
 * The bits of `sample_type` that each add 8 bytes to a `struct sample_id`: TID, TIME, ID, CPU, …
 */
const SAMPLE_ID_BITS = [1, 2, 6, 7, 9, 16] as const;

/**
 * Returns the size in bytes of the `struct sample_id` at the end of each record that is no sample.
 * It is 0 without `sample_id_all`. Kernel source: __perf_event_header_size() in
 * kernel/events/core.c.
 */
export function sampleIdBytes(attribute: Buffer): number {
  const flags = attribute.readBigUInt64LE(PERF_EVENT_FLAGS);
  if (((flags >> BigInt(PerfEventBit.sample_id_all)) & 1n) === 0n) return 0;
  const types = attribute.readBigUInt64LE(PERF_EVENT_ATTR.fields.sample_type.offset);
  return 8 * SAMPLE_ID_BITS.filter((bit) => ((types >> BigInt(bit)) & 1n) === 1n).length;
}

/** The size of `struct perf_event_attr` in Linux 2.6.33. A size of 0 stands for it. */
export const PERF_ATTR_SIZE_VER0 = 64;
/** The size of `struct perf_event_attr` in Linux 4.4. Every supported kernel knows it. */
export const PERF_ATTR_SIZE_VER5 = 112;

/** The input of {@link perfAttribute}. An absent value is 0. */
export interface PerfAttribute {
  /** `PERF_TYPE_*`, or the number of a PMU of the kernel. */
  readonly type: number;
  /** `perf_event_attr.config`: what is counted, by the type of the event. */
  readonly config?: number | bigint;
  /** `perf_event_attr.config1`. */
  readonly config1?: number | bigint;
  /** `perf_event_attr.config2`. */
  readonly config2?: number | bigint;
  /** The number of events from sample to sample. */
  readonly samplePeriod?: number | bigint;
  /** `PERF_SAMPLE_*`: what a sample has. */
  readonly sampleType?: number | bigint;
  /** `PERF_FORMAT_*`: what a read returns. */
  readonly readFormat?: number | bigint;
  /** The bits of {@link PerfEventBit}. */
  readonly flags?: number | bigint;
  /** After how many events a reader is woken up. */
  readonly wakeupEvents?: number;
}

/** Returns a `struct perf_event_attr` of {@link PERF_ATTR_SIZE_VER5} bytes. */
export function perfAttribute(values: PerfAttribute): Uint8Array {
  const { fields } = PERF_EVENT_ATTR;
  const view = new DataView(new ArrayBuffer(PERF_ATTR_SIZE_VER5));
  const put = (at: number, value: number | bigint = 0) => view.setBigInt64(at, BigInt(value), true);
  view.setUint32(fields.type.offset, values.type, true);
  view.setUint32(fields.size.offset, PERF_ATTR_SIZE_VER5, true);
  put(fields.config.offset, values.config);
  put(fields.sample_period.offset, values.samplePeriod);
  put(fields.sample_type.offset, values.sampleType);
  put(fields.read_format.offset, values.readFormat);
  put(PERF_EVENT_FLAGS, values.flags);
  view.setUint32(fields.wakeup_events.offset, values.wakeupEvents ?? 0, true);
  put(fields.config1.offset, values.config1);
  put(fields.config2.offset, values.config2);
  return new Uint8Array(view.buffer);
}

/** The third argument of an ioctl(2) on a perf event: see <linux/perf_event.h>. */
export type PerfIoctlArgument =
  | { readonly is: 'number' }
  /** The use that the request makes of the object. Absent: it reads. */
  | { readonly is: 'descriptor'; readonly use?: Use }
  | { readonly is: 'text' }
  | { readonly is: 'buffer'; readonly flow: 'in' | 'out'; readonly bytes: number }
  /** `struct perf_event_query_bpf`: two words, and room for as many ids as the first word says. */
  | { readonly is: 'query' }
  /** A `struct perf_event_attr`. */
  | { readonly is: 'attribute' };

/** The ioctl(2) requests of perf events. */
export const perfIoctls: ReadonlyMap<number, PerfIoctlArgument> = new Map<
  number,
  PerfIoctlArgument
>([
  [PerfIoctl.PERF_EVENT_IOC_ENABLE, { is: 'number' }],
  [PerfIoctl.PERF_EVENT_IOC_DISABLE, { is: 'number' }],
  [PerfIoctl.PERF_EVENT_IOC_REFRESH, { is: 'number' }],
  [PerfIoctl.PERF_EVENT_IOC_RESET, { is: 'number' }],
  [PerfIoctl.PERF_EVENT_IOC_PERIOD, { is: 'buffer', flow: 'in', bytes: 8 }],
  [PerfIoctl.PERF_EVENT_IOC_SET_OUTPUT, { is: 'descriptor' }],
  [PerfIoctl.PERF_EVENT_IOC_SET_FILTER, { is: 'text' }],
  [PerfIoctl.PERF_EVENT_IOC_ID, { is: 'buffer', flow: 'out', bytes: 8 }],
  [PerfIoctl.PERF_EVENT_IOC_SET_BPF, { is: 'descriptor', use: 'attach' }],
  [PerfIoctl.PERF_EVENT_IOC_PAUSE_OUTPUT, { is: 'number' }],
  [PerfIoctl.PERF_EVENT_IOC_QUERY_BPF, { is: 'query' }],
  [PerfIoctl.PERF_EVENT_IOC_MODIFY_ATTRIBUTES, { is: 'attribute' }],
]);
