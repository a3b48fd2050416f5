// Count a guest's system calls by number for a second: node examples/count-system-calls.mjs ADDRESS
import { setTimeout as sleep } from 'node:timers/promises';
import { count, enums, insn, Session, u32 } from 'waep';

const { Helper, MapType, ProgType } = enums;
const SYSTEM_CALLS = 512;

const session = await Session.connect(process.argv[2]);
const calls = await session.createMap({
  type: MapType.BPF_MAP_TYPE_ARRAY,
  key: u32,
  value: count,
  maxEntries: SYSTEM_CALLS,
  name: 'calls',
});
// The arguments of the raw tracepoint sys_enter are the registers and the system call's number.
const program = await session.loadProgram({
  type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
  instructions: insn.program(
    insn.load(8, 'r1', 'r1', 8),
    insn.store(4, 'r10', -4, 'r1'),
    insn.loadMap('r1', calls),
    insn.mov('r2', 'r10'),
    insn.alu('add', 'r2', -4),
    insn.call(Helper.BPF_FUNC_map_lookup_elem),
    insn.jumpIf('eq', 'r0', 0, 'out'),
    insn.load(8, 'r1', 'r0', 0),
    insn.alu('add', 'r1', 1),
    insn.store(8, 'r0', 0, 'r1'),
    insn.label('out'),
    insn.mov('r0', 0),
    insn.exit(),
  ),
  license: 'GPL',
  name: 'count_calls',
});
const link = await program.attachRawTracepoint('sys_enter');
await sleep(1000);
await link.close();

const seen = [];
for await (const [number, times] of calls) if (times > 0) seen.push({ number, times });
seen.sort((a, b) => b.times - a.times);
for (const { number, times } of seen.slice(0, 5)) console.log(`system call ${number}: ${times}`);
await session.close();
