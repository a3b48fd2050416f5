import { enums, insn, type Program, type RingBuffer, type Session } from '../../src/index.js';

const { Helper, ProgType } = enums;
const { alu, call, exit, jumpIf, label, loadMap, mov, program, store } = insn;

const BPF_RB_FORCE_WAKEUP = 2;
/** Readings of the clock that a record stays unfinished for: some hundred microseconds. */
const SPINS = 8000;

/** What the two records of a run begin with. Each goes on with the time at which it was finished. */
export const FIRST = 1n;
export const SECOND = 2n;

/**
 * Loads a program that reserves two records and finishes the second of them long before the first,
 * waking the reader up in between.
 */
export function outOfOrder(session: Session, ring: RingBuffer): Promise<Program> {
  const reserve = (to: 'r7' | 'r8') => [
    loadMap('r1', ring),
    mov('r2', 16),
    mov('r3', 0),
    call(Helper.BPF_FUNC_ringbuf_reserve),
    mov(to, 'r0'),
  ];
  const submit = (record: 'r7' | 'r8', mark: bigint, flags: number) => [
    call(Helper.BPF_FUNC_ktime_get_ns),
    store(8, record, 8, 'r0'),
    store(8, record, 0, Number(mark)),
    mov('r1', record),
    mov('r2', flags),
    call(Helper.BPF_FUNC_ringbuf_submit),
  ];
  return session.loadProgram({
    type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
    instructions: program(
      ...reserve('r7'),
      jumpIf('eq', 'r7', 0, 'end'),
      ...reserve('r8'),
      jumpIf('ne', 'r8', 0, 'both'),
      mov('r1', 'r7'),
      mov('r2', 0),
      call(Helper.BPF_FUNC_ringbuf_discard),
      mov('r0', 0),
      exit(),
      label('both'),
      ...submit('r8', SECOND, BPF_RB_FORCE_WAKEUP),
      mov('r6', 0),
      label('spin'),
      call(Helper.BPF_FUNC_ktime_get_ns),
      alu('add', 'r6', 1),
      jumpIf('lt', 'r6', SPINS, 'spin'),
      ...submit('r7', FIRST, 0),
      label('end'),
      mov('r0', 0),
      exit(),
    ),
    license: 'GPL',
    name: 'out_of_order',
  });
}
