import type { Row } from '../row.js';

const watch = { times: 6 };
const endless = { times: 40 };
/** Killed before any event could end it. */
const KILLED = { times: 0, signal: 'SIGKILL' } as const;

const withLibbpf = (versions: readonly string[]): readonly Row[] =>
  versions.flatMap((version) => [
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
  ]);

/** Lines about the stimulus. What else is executed in the guest is not the row's matter. */
const OF_STIMULUS = { lines: /stimulus/ };
/** A processor without work is sampled on both sides. The program's own samples differ. */
const IDLE = { lines: /^swapper/, compares: 'set' } as const;

/** The applications of the folder apps. */
const apps = (versions: readonly string[]): readonly Row[] =>
  versions.flatMap((version) =>
    (
      [
        ['minimal'],
        ['bootstrap', '', OF_STIMULUS],
        ['uprobe', ' $COMPAT/stimulus stimulate'],
        ['usdt', ' $COMPAT/stimulus stimulus step'],
        ['tc', ' lo 7777'],
        ['profile', '', IDLE],
      ] as const
    ).map(([name, words = '', more = {}]) => ({
      tool: `libbpf ${version}`,
      command: `$COMPAT/${name}-${version}${words}`,
      watch,
      mustWork: true,
      ...more,
    })),
  );

const killed = (commands: readonly string[]): readonly Row[] =>
  commands.map((command) => ({ tool: 'killed', command, watch: KILLED }));

const SCRIPT = `bpftrace -e 'kprobe:do_nanosleep { @[comm] = count(); }'`;

/**
 * The applications of test/conformance/compat/programs, with several versions of libbpf and with
 * cilium/ebpf.
 */
export const programs: readonly Row[] = [
  ...withLibbpf(['1.1.2', '1.5.0']),
  ...apps(['1.1.2', '1.5.0', '1.7.0']),
  ...killed([
    '$COMPAT/events-1.1.2 $COMPAT/events.bpf.o ring',
    '$COMPAT/events-1.5.0 $COMPAT/events.bpf.o perf',
    '$COMPAT/gotool $COMPAT/events.bpf.o',
    '/usr/sbin/opensnoop',
    '/usr/sbin/vfsstat',
    '/usr/sbin/runqlat',
    '/usr/sbin/syscount',
    SCRIPT,
  ]),
  { tool: 'cilium/ebpf (static Go)', command: '$COMPAT/gotool $COMPAT/events.bpf.o', watch },
];

/** The application with the newest version of libbpf, and newest tools that are killed. */
export const newestPrograms: readonly Row[] = [
  ...withLibbpf(['1.7.0']),
  ...apps(['1.1.2', '1.7.0']),
  ...killed([
    '$COMPAT/events-1.7.0 $COMPAT/events.bpf.o ring',
    '/usr/sbin/opensnoop-libbpf',
    '/usr/sbin/vfsstat-libbpf',
    SCRIPT,
  ]),
];
