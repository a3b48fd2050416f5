import type { Equipment } from '../equipment.js';
import type { Row } from '../row.js';

type More = Omit<Row, 'tool' | 'command'>;

const FIGURES: More = {
  compares: 'shape',
  volatile: ['bucket', 'time', 'number', 'spaces'],
  watch: { ends: true },
  mustWork: true,
};
/** The tools that print the machine's load. No other machine has process ids like the guest's. */
const SCREENS: More = {
  ...FIGURES,
  lines: /PID|TID|CACHE|loadavg:/,
  volatile: ['screen', 'load', 'time', 'number', 'spaces'],
  setup: 'cd /proc/sys/kernel && echo 4194304 > pid_max && echo 3140000 > ns_last_pid',
  teardown: 'cd /proc/sys/kernel && echo 300 > ns_last_pid && echo 32768 > pid_max',
};
/** Tools whose figures are about all that goes on. */
const HEADINGS: More = { ...FIGURES, lines: /^ *[A-Z][a-z].*[A-Z]|PID|COMM/ };
const LINES: More = {
  compares: 'set',
  lines: /stimulus|PID|COMM|Tracing|failed|error/i,
  volatile: ['time', 'address', 'number', 'spaces'],
  watch: {},
  mustWork: true,
};

/** The arguments of tools that end by themselves or need arguments. The others run until Ctrl-C. */
const invocations: Readonly<Record<string, readonly [args: string, more: More]>> = {
  biolatency: ['1 1', FIGURES],
  biopattern: ['1 1', FIGURES],
  biostacks: ['1', FIGURES],
  biotop: ['1 1', SCREENS],
  bitesize: ['1 1', FIGURES],
  cachestat: ['1 1', FIGURES],
  cpudist: ['1 1', FIGURES],
  cpufreq: ['-d 1', FIGURES],
  drsnoop: ['-d 1', LINES],
  ext4dist: ['1 1', FIGURES],
  btrfsdist: ['1 1', FIGURES],
  nfsdist: ['1 1', FIGURES],
  xfsdist: ['1 1', FIGURES],
  fsdist: ['-t ext4 1 1', FIGURES],
  fsslower: ['-t ext4 -d 1', LINES],
  ext4slower: ['-d 1', LINES],
  btrfsslower: ['-d 1', LINES],
  nfsslower: ['-d 1', LINES],
  xfsslower: ['-d 1', LINES],
  filetop: ['1 1', SCREENS],
  funclatency: ['-d 2 vfs_write', FIGURES],
  hardirqs: ['1 1', FIGURES],
  klockstat: ['-d 1', HEADINGS],
  ksnoop: ['info vfs_write', { compares: 'text' }],
  llcstat: ['1', FIGURES],
  numamove: ['', { ...FIGURES, watch: {} }],
  offcputime: ['1', { ...FIGURES, lines: /^ {4}schedule$|^ {8}\d+$/ }],
  readahead: ['-d 1', FIGURES],
  runqlat: ['1 1', FIGURES],
  runqslower: ['', { ...LINES, lines: /COMM|Tracing|failed|error/ }],
  runqlen: ['1 1', FIGURES],
  slabratetop: ['1 1', SCREENS],
  // Long enough for the stimulus. The other softirqs depend on the moment.
  softirqs: ['3 1', { ...FIGURES, lines: /Tracing|SOFTIRQ|timer|net_rx|sched|rcu/ }],
  syscount: ['-d 1', { ...FIGURES, lines: /SYSCALL|Tracing/ }],
  tcprtt: ['-i 2 -d 4', FIGURES],
  tcpsynbl: ['', { ...FIGURES, watch: {} }],
  tcptop: ['1 1', SCREENS],
  vfsstat: ['1 1', FIGURES],
  wakeuptime: ['1', { ...FIGURES, lines: /Tracing|target: +stimulus/ }],
  javagc: ['-p 1', LINES],
};

/** The tools of the package libbpf-tools. Newer versions call them `opensnoop-libbpf`. */
export const libbpfTools = ({ tools }: Pick<Equipment, 'tools'>): readonly Row[] =>
  tools['libbpf-tools'].map((name) => {
    const [args, more] = invocations[name.replace(/-libbpf$/, '')] ?? ['', LINES];
    return { tool: 'libbpf-tools', command: `/usr/sbin/${name} ${args}`.trim(), ...more };
  });
