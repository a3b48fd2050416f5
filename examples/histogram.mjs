// Show how long a guest's system calls take, measured for two seconds, as a histogram:
// node examples/histogram.mjs ADDRESS
import { setTimeout as sleep } from 'node:timers/promises';
import { count, enums, insn, Session, u32, u64 } from 'waep';

const { ElementFlag, Helper, MapType, ProgType } = enums;
const BUCKETS = 64;
const BAR = 40;

const session = await Session.connect(process.argv[2]);
/** When each thread entered its system call. */
const starts = await session.createMap({
  type: MapType.BPF_MAP_TYPE_HASH,
  key: u64,
  value: u64,
  maxEntries: 10_000,
  name: 'starts',
});
/** How many calls took from 2^n to 2^(n+1) nanoseconds. */
const buckets = await session.createMap({
  type: MapType.BPF_MAP_TYPE_ARRAY,
  key: u32,
  value: count,
  maxEntries: BUCKETS,
  name: 'buckets',
});

/** Stores the thread's id at -8 of the stack. */
const storeThread = [
  insn.call(Helper.BPF_FUNC_get_current_pid_tgid),
  insn.store(8, 'r10', -8, 'r0'),
];
/** `register` = the address of a place on the stack. */
const stack = (register, offset) => [insn.mov(register, 'r10'), insn.alu('add', register, offset)];
/** Leaves with the result 0. */
const leave = [insn.mov('r0', 0), insn.exit()];

const enter = await session.loadProgram({
  type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
  instructions: insn.program(
    storeThread,
    [insn.call(Helper.BPF_FUNC_ktime_get_ns), insn.store(8, 'r10', -16, 'r0')],
    insn.loadMap('r1', starts),
    stack('r2', -8),
    stack('r3', -16),
    insn.mov('r4', ElementFlag.BPF_ANY),
    insn.call(Helper.BPF_FUNC_map_update_elem),
    leave,
  ),
  license: 'GPL',
  name: 'enter',
});
const exit = await session.loadProgram({
  type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
  instructions: insn.program(
    storeThread,
    insn.loadMap('r1', starts),
    stack('r2', -8),
    insn.call(Helper.BPF_FUNC_map_lookup_elem),
    insn.jumpIf('eq', 'r0', 0, 'out'),
    insn.load(8, 'r6', 'r0', 0),
    insn.call(Helper.BPF_FUNC_ktime_get_ns),
    insn.alu('sub', 'r0', 'r6'),
    // r7 = the logarithm of r0: the number of its highest bit.
    insn.mov('r7', 0),
    [32, 16, 8, 4, 2, 1].flatMap((bits) => [
      insn.mov('r1', 'r0'),
      insn.alu('rsh', 'r1', bits),
      insn.jumpIf('eq', 'r1', 0, `below ${bits}`),
      insn.mov('r0', 'r1'),
      insn.alu('add', 'r7', bits),
      insn.label(`below ${bits}`),
    ]),
    insn.store(4, 'r10', -12, 'r7'),
    insn.loadMap('r1', buckets),
    stack('r2', -12),
    insn.call(Helper.BPF_FUNC_map_lookup_elem),
    insn.jumpIf('eq', 'r0', 0, 'out'),
    insn.load(8, 'r1', 'r0', 0),
    insn.alu('add', 'r1', 1),
    insn.store(8, 'r0', 0, 'r1'),
    insn.label('out'),
    leave,
  ),
  license: 'GPL',
  name: 'exit',
});
await exit.attachRawTracepoint('sys_exit');
await enter.attachRawTracepoint('sys_enter');
await sleep(2000);

const seen = [];
for await (const [bucket, times] of buckets) if (times > 0) seen.push({ bucket, times });
const most = Math.max(...seen.map(({ times }) => times));
for (const { bucket, times } of seen) {
  const bar = '█'.repeat(Math.ceil((times / most) * BAR));
  console.log(`${String(2 ** bucket).padStart(12)} ns ${String(times).padStart(8)} ${bar}`);
}
await session.close();
