// Print each program that a guest executes, five by default:
// node examples/follow-executions.mjs ADDRESS [COUNT]
import { enums, insn, Session, struct, text, u32 } from 'waep';

const { Helper, MapType, ProgType } = enums;
const RECORD_BYTES = 24;

const [address, limit = '5'] = process.argv.slice(2);
const session = await Session.connect(address);
const events = await session.createMap({
  type: MapType.BPF_MAP_TYPE_RINGBUF,
  maxEntries: 64 * 1024,
  name: 'executions',
});
// A record is made on the stack: the thread's and the process's id, then the program's name.
const program = await session.loadProgram({
  type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
  instructions: insn.program(
    insn.call(Helper.BPF_FUNC_get_current_pid_tgid),
    insn.store(8, 'r10', -RECORD_BYTES, 'r0'),
    insn.mov('r1', 'r10'),
    insn.alu('add', 'r1', -16),
    insn.mov('r2', 16),
    insn.call(Helper.BPF_FUNC_get_current_comm),
    insn.loadMap('r1', events),
    insn.mov('r2', 'r10'),
    insn.alu('add', 'r2', -RECORD_BYTES),
    insn.mov('r3', RECORD_BYTES),
    insn.mov('r4', 0),
    insn.call(Helper.BPF_FUNC_ringbuf_output),
    insn.mov('r0', 0),
    insn.exit(),
  ),
  license: 'GPL',
  name: 'executions',
});
await program.attachRawTracepoint('sched_process_exec');

const codec = struct({ thread: u32, process: u32, name: text(16) });
let seen = 0;
for await (const { process: pid, name } of events.records({ codec })) {
  console.log(`${pid} ${name}`);
  if (++seen === Number(limit)) break;
}
await session.close();
