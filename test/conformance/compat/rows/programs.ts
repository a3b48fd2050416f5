import type { Row } from '../row.js';

const watch = { times: 6 };
const endless = { times: 40 };
/** Killed before any event could end it. */
const KILLED = { times: 0, signal: 'SIGKILL' } as const;

/**
 * The applications of test/conformance/compat/programs, with two versions of libbpf and with
 * cilium/ebpf.
 */
export const programs: readonly Row[] = [
  ...['1.1.2', '1.5.0'].flatMap((version) => [
    ...['ring', 'perf'].map((buffer) => ({
      tool: `libbpf ${version}`,
      command: `$COMPAT/events-${version} $COMPAT/events.bpf.o ${buffer}`,
      watch,
    })),
    {
      tool: `libbpf ${version}`,
      command: `$COMPAT/orders-${version} $COMPAT/orders.bpf.o`,
      watch: endless,
    },
  ]),
  ...[
    '$COMPAT/events-1.1.2 $COMPAT/events.bpf.o ring',
    '$COMPAT/events-1.5.0 $COMPAT/events.bpf.o perf',
    '$COMPAT/gotool $COMPAT/events.bpf.o',
    '/usr/sbin/opensnoop',
    '/usr/sbin/vfsstat',
    '/usr/sbin/runqlat',
    '/usr/sbin/syscount',
    `bpftrace -e 'kprobe:do_nanosleep { @[comm] = count(); }'`,
  ].map((command): Row => ({ tool: 'killed', command, watch: KILLED })),
  { tool: 'cilium/ebpf (static Go)', command: '$COMPAT/gotool $COMPAT/events.bpf.o', watch },
];
