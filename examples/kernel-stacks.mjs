// Show where a guest's kernel leaves the processor, by kernel stacks of two seconds:
// node examples/kernel-stacks.mjs ADDRESS
import { setTimeout as sleep } from 'node:timers/promises';
import { array, count, enums, insn, Session, u32, u64 } from 'waep';

const { ElementFlag, Helper, MapType, ProgType } = enums;
const DEPTH = 20;

const session = await Session.connect(process.argv[2]);
const stacks = await session.createMap({
  type: MapType.BPF_MAP_TYPE_STACK_TRACE,
  key: u32,
  value: array(u64, DEPTH),
  maxEntries: 1024,
  name: 'stacks',
});
const counts = await session.createMap({
  type: MapType.BPF_MAP_TYPE_HASH,
  key: u32,
  value: count,
  maxEntries: 1024,
  name: 'counts',
});
const program = await session.loadProgram({
  type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
  instructions: insn.program(
    insn.loadMap('r2', stacks),
    insn.mov('r3', 0),
    insn.call(Helper.BPF_FUNC_get_stackid),
    insn.jumpIf('slt', 'r0', 0, 'out'),
    insn.store(4, 'r10', -4, 'r0'),
    insn.loadMap('r1', counts),
    insn.mov('r2', 'r10'),
    insn.alu('add', 'r2', -4),
    insn.call(Helper.BPF_FUNC_map_lookup_elem),
    insn.jumpIf('eq', 'r0', 0, 'first'),
    insn.load(8, 'r1', 'r0', 0),
    insn.alu('add', 'r1', 1),
    insn.store(8, 'r0', 0, 'r1'),
    insn.jump('out'),
    insn.label('first'),
    insn.mov('r1', 1),
    insn.store(8, 'r10', -16, 'r1'),
    insn.loadMap('r1', counts),
    insn.mov('r2', 'r10'),
    insn.alu('add', 'r2', -4),
    insn.mov('r3', 'r10'),
    insn.alu('add', 'r3', -16),
    insn.mov('r4', ElementFlag.BPF_ANY),
    insn.call(Helper.BPF_FUNC_map_update_elem),
    insn.label('out'),
    insn.mov('r0', 0),
    insn.exit(),
  ),
  license: 'GPL',
  name: 'kernel_stacks',
});
const link = await program.attachRawTracepoint('sched_switch');
await sleep(2000);
await link.close();

const seen = [];
for await (const [id, times] of counts) seen.push({ id, times });
seen.sort((a, b) => b.times - a.times);
for (const { id, times } of seen.slice(0, 3)) {
  console.log(`${times} times`);
  const addresses = (await stacks.lookup(id)) ?? [];
  for (const one of await session.symbolize(addresses)) if (one) console.log(`  ${one.name}`);
}
await session.close();
