/** What the third argument of an ioctl(2) is. */
export type IoctlArgument = 'number' | 'handle' | 'buffer';

/** An ioctl(2) request that a session may make on its handles. */
export interface IoctlRule {
  /** What a refusal calls it, such as `PERF_EVENT_IOC_ENABLE`. */
  readonly name: string;
  readonly request: number;
  readonly argument: IoctlArgument;
}

/** PERF_EVENT_IOC_SET_BPF, which attaches a program. */
export const SET_BPF = 0x40042408;

/** PERF_EVENT_IOC_MODIFY_ATTRIBUTES, after which an event is another than the one that was checked. */
export const MODIFY_ATTRIBUTES = 0x4008240b;

/** The requests of <linux/perf_event.h>. */
export const perfIoctls: readonly IoctlRule[] = [
  { name: 'PERF_EVENT_IOC_ENABLE', request: 0x2400, argument: 'number' },
  { name: 'PERF_EVENT_IOC_DISABLE', request: 0x2401, argument: 'number' },
  { name: 'PERF_EVENT_IOC_REFRESH', request: 0x2402, argument: 'number' },
  { name: 'PERF_EVENT_IOC_RESET', request: 0x2403, argument: 'number' },
  { name: 'PERF_EVENT_IOC_PERIOD', request: 0x40082404, argument: 'buffer' },
  { name: 'PERF_EVENT_IOC_SET_OUTPUT', request: 0x2405, argument: 'handle' },
  { name: 'PERF_EVENT_IOC_SET_FILTER', request: 0x40082406, argument: 'buffer' },
  { name: 'PERF_EVENT_IOC_ID', request: 0x80082407, argument: 'buffer' },
  { name: 'PERF_EVENT_IOC_SET_BPF', request: SET_BPF, argument: 'handle' },
  { name: 'PERF_EVENT_IOC_PAUSE_OUTPUT', request: 0x40042409, argument: 'number' },
  { name: 'PERF_EVENT_IOC_QUERY_BPF', request: 0xc008240a, argument: 'buffer' },
  { name: 'PERF_EVENT_IOC_MODIFY_ATTRIBUTES', request: MODIFY_ATTRIBUTES, argument: 'buffer' },
];
