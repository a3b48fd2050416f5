import type { Equipment } from '../equipment.js';
import type { Row } from '../row.js';
import type { VolatileName } from '../volatile.js';

/** A program that ends itself. */
const program = (text: string, more: Omit<Row, 'tool' | 'command'> = {}): Row => ({
  tool: 'bpftrace',
  command: `bpftrace -e '${text}'`,
  ...more,
});

/** A program that ends itself when the stimulus triggers it. If it does not end, it saw nothing. */
const stimulated = (text: string, more: Omit<Row, 'tool' | 'command' | 'watch'> = {}): Row =>
  program(text, { watch: { ends: true }, mustWork: true, ...more });

const command = (words: string, more: Omit<Row, 'tool' | 'command'> = {}): Row => ({
  tool: 'bpftrace',
  command: `bpftrace ${words}`,
  ...more,
});

const MINE = '/comm == "stimulus"/';
/** Events between exit() and the end of the program are seen as well, but have no effect. */
const FIRST = '/comm == "stimulus" && @n < 1/';
const NUMBERS: readonly VolatileName[] = ['number'];

const oneLiners: readonly Row[] = [
  // Programs that need no event.
  program('BEGIN { printf("hello %d\\n", 42); exit(); }'),
  program('BEGIN { exit(); } END { printf("bye\\n"); }'),
  program('BEGIN { @a[1, "x"] = 2; @b = 3; @c["k"] = (1, "t"); exit(); }'),
  program('BEGIN { @h = hist(5); @h = hist(700); @l = lhist(3, 0, 10, 1); exit(); }'),
  program(
    'BEGIN { @s = sum(4); @s = sum(5); @m = max(7); @n = min(7); @a = avg(6); @t = stats(9); @c = count(); exit(); }',
  ),
  program('BEGIN { @x[1] = 1; @x[2] = 2; delete(@x[1]); print(@x); clear(@x); zero(@x); exit(); }'),
  program(
    'BEGIN { $i = 0; while ($i < 3) { printf("%d\\n", $i); $i++ } unroll(2) { printf("u\\n"); } exit(); }',
  ),
  program(
    'BEGIN { if (1 < 2) { printf("%s\\n", "less") } else { printf("more\\n") } printf("%s\\n", 3 > 2 ? "yes" : "no"); exit(); }',
  ),
  program('BEGIN { printf("%s %r\\n", "abc", buf(kaddr("linux_banner"), 5)); exit(); }'),
  program('BEGIN { printf("%s\\n", ksym(kaddr("do_nanosleep"))); exit(); }'),
  program('BEGIN { cat("/proc/version"); exit(); }'),
  program('BEGIN { time("%Y\\n"); printf("%s\\n", strftime("%Y", nsecs)); exit(); }', {
    volatile: NUMBERS,
  }),
  program('BEGIN { printf("%d %d\\n", sizeof(struct task_struct), sizeof(struct path)); exit(); }'),
  command(`-e 'BEGIN { printf("%d of %s\\n", $1, str($2)); exit(); }' 7 seven`),
  command(`-f json -e 'BEGIN { @a[1] = 2; @h = hist(9); printf("hi"); exit(); }'`),
  // Timers and software events.
  program('interval:ms:200 { @n++; if (@n == 3) { exit(); } }'),
  program('interval:s:1 { printf("tick\\n"); exit(); }'),
  program('profile:hz:99 { @ = count(); } interval:s:1 { exit(); }', { volatile: NUMBERS }),
  program('software:cpu-clock:1000000 { @[cpu] = count(); } interval:s:1 { exit(); }', {
    compares: 'shape',
    volatile: NUMBERS,
  }),
  stimulated('software:page-faults:1 /comm == "stimulus"/ { printf("%s\\n", comm); exit(); }', {
    compares: 'set',
  }),
  stimulated('software:context-switches:1 { @n = count(); } interval:s:1 { exit(); }', {
    volatile: NUMBERS,
  }),
  // Tracepoints.
  stimulated(`tracepoint:syscalls:sys_enter_getppid ${MINE} { printf("%s\\n", probe); exit(); }`, {
    compares: 'set',
  }),
  stimulated(
    'tracepoint:syscalls:sys_enter_execve /str(args->filename) == "/bin/busybox"/ { printf("%s ", str(args->filename)); join(args->argv); exit(); }',
    { compares: 'set' },
  ),
  stimulated(
    `tracepoint:syscalls:sys_enter_openat /comm == "stimulus" && @n < 2/ { printf("%s\\n", str(args->filename)); @n++; if (@n == 2) { exit(); } }`,
    { compares: 'set' },
  ),
  stimulated(
    `tracepoint:syscalls:sys_exit_write /comm == "stimulus" && args->ret == 1000/ { @ = hist(args->ret); exit(); }`,
    { volatile: NUMBERS },
  ),
  stimulated(
    'tracepoint:sched:sched_process_exec /comm == "busybox"/ { printf("%s\\n", str(args->filename)); exit(); }',
    { compares: 'set' },
  ),
  stimulated(
    `tracepoint:raw_syscalls:sys_enter ${MINE} { @[args->id] = count(); } interval:s:2 { exit(); }`,
    { compares: 'set', volatile: NUMBERS },
  ),
  stimulated('rawtracepoint:sched_process_exit { printf("exit\\n"); exit(); }', {
    compares: 'set',
  }),
  // Kernel functions.
  stimulated(`kprobe:do_nanosleep ${MINE} { printf("%s %s\\n", func, comm); exit(); }`, {
    compares: 'set',
  }),
  stimulated('kprobe:ksys_sync { @[comm] = count(); exit(); }', {
    lines: /stimulus|Attach/,
    volatile: NUMBERS,
  }),
  stimulated(`kretprobe:vfs_write ${FIRST} { printf("%d\\n", retval); @n++; exit(); }`, {
    compares: 'set',
  }),
  stimulated(
    `kprobe:vfs_write ${MINE} { @start[tid] = nsecs; } kretprobe:vfs_write /@start[tid]/ { @ns = hist(nsecs - @start[tid]); delete(@start[tid]); exit(); }`,
    // Events between exit() and the end of the program may be counted as well.
    { compares: 'shape', lines: /Attaching|@ns|^\[/, volatile: ['bucket', 'number'] },
  ),
  stimulated(
    `kprobe:vfs_open ${FIRST} { printf("%s\\n", str(((struct path *)arg0)->dentry->d_name.name)); @n++; exit(); }`,
    { compares: 'set' },
  ),
  stimulated(`kfunc:vfs_write ${FIRST} { printf("%d\\n", args->count); @n++; exit(); }`, {
    compares: 'set',
  }),
  stimulated(`kretfunc:vfs_write ${FIRST} { printf("%d\\n", retval); @n++; exit(); }`, {
    compares: 'set',
  }),
  // Stacks.
  stimulated(`kprobe:do_nanosleep ${MINE} { printf("%s\\n", kstack(3)); exit(); }`, {
    compares: 'set',
  }),
  stimulated(`kprobe:do_nanosleep ${MINE} { @[kstack(4)] = count(); exit(); }`, {
    compares: 'set',
    volatile: NUMBERS,
  }),
  // The names come from the file that the process runs. /proc has it only while the process lives.
  program(`tracepoint:syscalls:sys_enter_getppid ${MINE} { printf("%s\\n", ustack(1)); exit(); }`, {
    watch: { stimulus: '$COMPAT/stimulus 1000', times: 6 },
    compares: 'set',
  }),
  // Functions of a program in the guest.
  stimulated(
    `uprobe:'$COMPAT'/stimulus:stimulate /@n < 3/ { printf("%d\\n", arg0); @n++; if (@n == 3) { exit(); } }`,
    { compares: 'set' },
  ),
  stimulated(
    `uretprobe:'$COMPAT'/stimulus:stimulate /@n < 3/ { @ = lhist(retval, 0, 5, 1); @n++; if (@n == 3) { exit(); } }`,
    { compares: 'set' },
  ),
  // Lists.
  command(`-l 'tracepoint:syscalls:sys_enter_open*'`),
  command(`-lv tracepoint:sched:sched_switch`),
  command(`-l 'kprobe:vfs_*'`),
  command(`-l 'software:*'`),
  command(`-l 'kfunc:vmlinux:vfs_re*'`),
  command('--info'),
  command('--version'),
  // Errors.
  program('kprobe:no_such_function { exit(); }'),
  program('tracepoint:no:such { exit(); }'),
  program('BEGIN { nonsense( }'),
];

const SHAPE = { compares: 'shape', volatile: ['bucket', 'time', 'number', 'spaces'] } as const;
const LINES = {
  compares: 'set',
  lines: /stimulus|Attaching|Tracing|Hit Ctrl|Top|[A-Z]{3}/,
  volatile: ['time', 'number', 'spaces'],
} as const;

/** The scripts whose output is not compared line by line. */
const figures = new Set([
  'biolatency.bt',
  'biostacks.bt',
  'bitesize.bt',
  'cpuwalk.bt',
  'gethostlatency.bt',
  'loads.bt',
  'pidpersec.bt',
  'runqlat.bt',
  'runqlen.bt',
  'ssllatency.bt',
  'swapin.bt',
  'writeback.bt',
  'xfsdist.bt',
]);

/** Scripts that report unrelated events, too. Only lines about the stimulus are compared. */
const others: Readonly<Record<string, Omit<Row, 'tool' | 'command'>>> = {
  // The counts are printed each second and dropped at the end, so it must run for more than a
  // second.
  'vfsstat.bt': {
    ...SHAPE,
    lines: /Attaching|Tracing|^\d\d:\d\d:\d\d|\[vfs_(open|read|write)\]/,
    watch: { times: 8 },
  },
  // How the guest's own programs end each other depends on the moment.
  'killsnoop.bt': { ...LINES, lines: /stimulus|Attaching|Tracing|PID/ },
  'vfscount.bt': { ...LINES, lines: /Attaching|Tracing|\[vfs_(open|read|write|unlink|mkdir)\]/ },
};

const scripts = (names: readonly string[]): Row[] =>
  names
    .filter((name) => name.endsWith('.bt'))
    .map((name) => ({
      ...command(`/usr/sbin/${name}`),
      // Clang reads the headers that some include. In an emulated guest that takes half a minute.
      timeoutS: 120,
      watch: {},
      mustWork: true,
      ...(others[name] ?? (figures.has(name) ? SHAPE : LINES)),
    }));

/** One-liners, and the scripts that come with bpftrace. */
export const bpftrace = ({ tools }: Pick<Equipment, 'tools'>): readonly Row[] => [
  ...oneLiners,
  ...scripts(tools.bpftrace),
];
