import { PerfIoctl } from '../bpf/enums.js';
import type { Use } from '../bpf/index.js';

/** What the third argument of an ioctl(2) is. */
export type IoctlArgument = 'number' | 'handle' | 'buffer';

/** An ioctl(2) request that a session may make on its handles. */
export interface IoctlRule {
  /** What a refusal calls it, such as `PERF_EVENT_IOC_ENABLE`. */
  readonly name: string;
  readonly request: number;
  readonly argument: IoctlArgument;
  /** What it does with the object that its argument names; it reads where nothing is said. */
  readonly use?: Use;
}

const perfArguments: Readonly<Record<keyof typeof PerfIoctl, IoctlArgument>> = {
  PERF_EVENT_IOC_ENABLE: 'number',
  PERF_EVENT_IOC_DISABLE: 'number',
  PERF_EVENT_IOC_REFRESH: 'number',
  PERF_EVENT_IOC_RESET: 'number',
  PERF_EVENT_IOC_PERIOD: 'buffer',
  PERF_EVENT_IOC_SET_OUTPUT: 'handle',
  PERF_EVENT_IOC_SET_FILTER: 'buffer',
  PERF_EVENT_IOC_ID: 'buffer',
  PERF_EVENT_IOC_SET_BPF: 'handle',
  PERF_EVENT_IOC_PAUSE_OUTPUT: 'number',
  PERF_EVENT_IOC_QUERY_BPF: 'buffer',
  PERF_EVENT_IOC_MODIFY_ATTRIBUTES: 'buffer',
};

/** The requests of <linux/perf_event.h>. */
export const perfIoctls: readonly IoctlRule[] = (
  Object.entries(perfArguments) as [keyof typeof PerfIoctl, IoctlArgument][]
).map(([name, argument]) => ({
  name,
  request: PerfIoctl[name],
  argument,
  ...(name === 'PERF_EVENT_IOC_SET_BPF' ? { use: 'attach' } : {}),
}));
