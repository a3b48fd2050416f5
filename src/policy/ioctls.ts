import { PerfIoctl } from '../bpf/enums.js';
import { perf, type Use } from '../bpf/index.js';

/** The kind of the third argument of an ioctl(2). */
export type IoctlArgument = 'number' | 'handle' | 'buffer';

/** An ioctl(2) request that a session may make on its handles. */
export interface IoctlRule {
  /** The name of the request in a refusal, such as `PERF_EVENT_IOC_ENABLE`. */
  readonly name: string;
  readonly request: number;
  readonly argument: IoctlArgument;
  /** The use that the request makes of the object in its argument. Absent: it reads. */
  readonly use?: Use;
}

/** The requests of <linux/perf_event.h>. */
export const perfIoctls: readonly IoctlRule[] = Object.entries(PerfIoctl).map(([name, request]) => {
  const argument = perf.perfIoctls.get(request);
  if (argument?.is === 'number') return { name, request, argument: 'number' };
  if (argument?.is !== 'descriptor') return { name, request, argument: 'buffer' };
  const { use } = argument;
  return { name, request, argument: 'handle', ...(use === undefined ? {} : { use }) };
});
