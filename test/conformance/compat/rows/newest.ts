/* Tools that only newer suites of Debian have, or that only there go with newer kernels. */
import type { Row } from '../row.js';

type More = Omit<Row, 'tool' | 'command'>;

const FIGURES: More = {
  compares: 'shape',
  volatile: ['bucket', 'time', 'number', 'spaces'],
  mustWork: true,
};

const perf = (words: string, more: More = {}): Row => ({
  tool: 'perf',
  command: `perf ${words}`,
  ...more,
});

/** What perf prints of a second of the whole guest: its figures are those of a moment. */
const COUNTS: More = { ...FIGURES, volatile: ['number', 'spaces'] };

const perfs: readonly Row[] = [
  perf('version', { mustWork: true }),
  perf('list sw', { mustWork: true, timeoutS: 120 }),
  perf('stat -a -e cpu-clock,context-switches,page-faults --timeout 1000', COUNTS),
  perf('stat -a -A -e cpu-clock --timeout 1000', COUNTS),
  perf('stat -a -x , -e task-clock,cs,faults --timeout 1000', COUNTS),
  perf('stat -a -j -e cpu-clock --timeout 1000', COUNTS),
  perf('stat -a -I 300 --interval-count 2 -e cpu-clock', COUNTS),
  perf('stat -C 0 -e cpu-clock --timeout 500', COUNTS),
  perf('stat -p 1 -e page-faults --timeout 500', COUNTS),
  perf('stat -a -e sched:sched_switch --timeout 1000', COUNTS),
  perf('stat -a -e cycles --timeout 500'),
  perf('stat -e task-clock true'),
  perf('stat -e no_such_event -a --timeout 100'),
  perf('probe -l'),
  perf('bench sched messaging -g 1 -l 10', COUNTS),
];

const bcc = (words: string, more: More): Row => ({
  tool: 'bcc',
  // Clang reads the kernel's headers. The package has them in the same place on both sides.
  command: `env BCC_KERNEL_SOURCE=/usr/src/linux-headers /usr/bin/python3 /usr/sbin/${words}`,
  timeoutS: 240,
  mustWork: true,
  ...more,
});

/** A tool that prints a line for each event, until it is interrupted. */
const events = (words: string, more: More = {}): Row =>
  bcc(words, {
    compares: 'set',
    lines: /stimulus|PID|COMM|Tracing|Traceback|Error/i,
    volatile: ['time', 'address', 'number', 'spaces'],
    watch: { times: 4 },
    ...more,
  });

/** One line of trace, whose status is 1 when it is interrupted. */
const traced = (what: string): Row =>
  events(`trace-bpfcc ${what}`, { lines: /stimulus|PID|Traceback|Error/, mustWork: false });

/** A tool that prints figures of a second and ends. */
const figures = (words: string, more: More = {}): Row =>
  bcc(words, { ...FIGURES, watch: { ends: true }, ...more });

/** A tool whose figures are about all that goes on. */
const headings = (words: string): Row =>
  figures(words, { lines: /^[A-Z][A-Za-z]+.* [A-Z]|Tracing|Traceback|Error/ });

const bccs: readonly Row[] = [
  // Others open files, too: the tool itself where it runs, and the agent elsewhere. The output has
  // the heading within one of their lines.
  events('opensnoop-bpfcc', { lines: /stimulus|Traceback|Error/ }),
  events('execsnoop-bpfcc', { lines: /busybox|PCOMM|Traceback|Error/ }),
  events('exitsnoop-bpfcc'),
  events('statsnoop-bpfcc'),
  events('syncsnoop-bpfcc', { lines: /TIME|Traceback/ }),
  events('killsnoop-bpfcc'),
  events('mountsnoop-bpfcc'),
  events('tcpconnect-bpfcc'),
  events('tcpaccept-bpfcc'),
  events('tcplife-bpfcc'),
  events('tcpstates-bpfcc'),
  events('filelife-bpfcc'),
  events('capable-bpfcc'),
  events('ext4slower-bpfcc'),
  traced(`'do_nanosleep "sleeps"'`),
  traced("'t:syscalls:sys_enter_getppid'"),
  figures('funccount-bpfcc -d 2 vfs_write'),
  figures('funclatency-bpfcc -d 2 vfs_write'),
  figures('stackcount-bpfcc -D 2 do_nanosleep', { lines: /do_nanosleep|Tracing|Detaching/ }),
  figures(
    `argdist-bpfcc -i 1 -n 1 -C 'p::vfs_write(void *file, void *buf, size_t count):size_t:count'`,
    {
      lines: /COUNT|vfs_write/,
    },
  ),
  figures('biolatency-bpfcc 1 1'),
  figures('bitesize-bpfcc', { watch: {} }),
  headings('cachestat-bpfcc 1 1'),
  figures('cpudist-bpfcc 1 1'),
  headings('dcstat-bpfcc 1 1'),
  headings('hardirqs-bpfcc 1 1'),
  headings('softirqs-bpfcc 1 1'),
  figures('runqlat-bpfcc 1 1'),
  figures('runqlen-bpfcc 1 1'),
  headings('syscount-bpfcc -d 1'),
  headings('vfsstat-bpfcc 1 1'),
  figures('profile-bpfcc -F 49 1', { lines: /Sampling|Traceback|Error/ }),
  figures('offcputime-bpfcc 1', { lines: /Tracing|Traceback|Error/ }),
  figures('pidpersec-bpfcc', { watch: { times: 4 } }),
];

/** Whether ply has a folder for its cache is not compared. */
const ply = (words: string, more: More = {}): Row => ({
  tool: 'ply',
  command: `ply '${words}'`,
  lines: /hello|stimulus|ERR|error/,
  volatile: ['number'],
  mustWork: true,
  ...more,
});

const veristat = (words: string, more: More = {}): Row => ({
  tool: 'veristat',
  command: `veristat ${words}`,
  ...more,
});

const others: readonly Row[] = [
  veristat('-e file,prog,verdict,insns,states $COMPAT/counts.bpf.o', { mustWork: true }),
  veristat('-e file,prog,verdict,insns $COMPAT/events.bpf.o $COMPAT/iterator.bpf.o', {
    mustWork: true,
  }),
  veristat('-o csv -e file,prog,verdict,insns $COMPAT/counts.bpf.o', { mustWork: true }),
  veristat('-vl2 -f pass_all $COMPAT/counts.bpf.o', {
    ...{ lines: /^\d|^;|PROCESSING|processed|Done/, volatile: ['number'], mustWork: true },
  }),
  veristat('$COMPAT/packet'),
  ply('BEGIN { printf("hello\\n"); exit(0); }'),
  ply('tracepoint:syscalls/sys_enter_getppid { @[comm] = count(); }', { watch: {} }),
  ply('kprobe:do_nanosleep { @[comm] = count(); }', { watch: {} }),
  { tool: 'bpftune', command: 'bpftune -S', setup: 'mkdir -p /var/run' },
  { tool: 'bpftune', command: 'bpftune -h' },
  { tool: 'bpftop', command: 'bpftop --version' },
  {
    tool: 'pwru',
    command:
      'pwru --timestamp none --filter-func "tcp_v4_(connect|rcv)" --output-limit-lines 3 port 7777',
    ...{ timeoutS: 120, compares: 'set', lines: /SKB|stimulus/ },
    volatile: ['address', 'number', 'spaces'],
    watch: { ends: true },
    mustWork: true,
  },
];

/** The tools of a newer suite. */
export const newest: readonly Row[] = [...others, ...perfs, ...bccs];
