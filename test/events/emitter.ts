import {
  enums,
  insn,
  type PerfEventArray,
  type Program,
  type RingBuffer,
  type Session,
} from '../../src/index.js';

const { MapType, ProgType, Helper } = enums;
const { alu, call, exit, jump, jumpIf, label, load, loadMap, loadMapValue, loadNumber } = insn;
const { mov, program, store } = insn;

/** How many records a run may emit; the verifier walks through all of them. */
const MAX_PER_RUN = 1000;
const BPF_F_CURRENT_CPU = 0xffffffffn;

/** A program that emits records whenever it is told to. */
export interface Emitter extends AsyncDisposable {
  program: Program;
  /** Emits so many records. */
  run(count: number, cpu?: number): Promise<void>;
  /** How many were emitted, and how many there was no room for. */
  counts(): Promise<{ emitted: bigint; failed: bigint }>;
}

/**
 * Loads a program that emits records of `sizeBytes` to a ring buffer, each with a number that
 * grows by one with each record that there was room for, and with the number of its attempt.
 *
 * @param how `discard`: takes them back; `time`: they have the time in place of the number; `perf`:
 *   to perf buffers; `tracepoint`: one record whenever a tracepoint is reached
 */
export async function emitter(
  session: Session,
  to: RingBuffer | PerfEventArray,
  sizeBytes: number,
  how: 'submit' | 'discard' | 'time' | 'perf' | 'tracepoint' = 'submit',
): Promise<Emitter> {
  // Its only value: the next record's number, failures, how many are to be emitted.
  const control = await session.createMap({
    type: MapType.BPF_MAP_TYPE_ARRAY,
    keySize: 4,
    valueSize: 24,
    maxEntries: 1,
  });
  const fill = (record: 'r6' | 'r10', offset: number) => [
    ...(sizeBytes < 8
      ? []
      : how === 'time'
        ? [call(Helper.BPF_FUNC_ktime_get_ns), store(8, record, offset, 'r0')]
        : [load(8, 'r1', 'r9', 0), store(8, record, offset, 'r1')]),
    ...(sizeBytes < 16 ? [] : [store(8, record, offset + 8, 'r7')]),
  ];
  const count = (offset: number) => [
    load(8, 'r1', 'r9', offset),
    alu('add', 'r1', 1),
    store(8, 'r9', offset, 'r1'),
  ];
  const emit =
    how === 'perf'
      ? [
          ...fill('r10', -sizeBytes),
          mov('r1', 'r6'),
          loadMap('r2', to),
          loadNumber('r3', BPF_F_CURRENT_CPU),
          mov('r4', 'r10'),
          alu('add', 'r4', -sizeBytes),
          mov('r5', sizeBytes),
          call(Helper.BPF_FUNC_perf_event_output),
          jumpIf('ne', 'r0', 0, 'full'),
          ...count(0),
        ]
      : [
          loadMap('r1', to),
          mov('r2', sizeBytes),
          mov('r3', 0),
          call(Helper.BPF_FUNC_ringbuf_reserve),
          jumpIf('eq', 'r0', 0, 'full'),
          mov('r6', 'r0'),
          ...fill('r6', 0),
          ...(how === 'discard' ? [] : count(0)),
          mov('r1', 'r6'),
          mov('r2', 0),
          call(
            how === 'discard' ? Helper.BPF_FUNC_ringbuf_discard : Helper.BPF_FUNC_ringbuf_submit,
          ),
        ];
  const zeroes = Array.from({ length: how === 'perf' ? sizeBytes / 8 : 0 }, (_, at) =>
    store(8, 'r10', -8 * (at + 1), 0),
  );
  const loaded = await session.loadProgram({
    type:
      how === 'tracepoint'
        ? ProgType.BPF_PROG_TYPE_TRACEPOINT
        : ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
    instructions: program(
      mov('r6', 'r1'),
      ...zeroes,
      loadMapValue('r9', control),
      how === 'tracepoint' ? mov('r8', 1) : load(8, 'r8', 'r9', 16),
      mov('r7', 0),
      label('next'),
      jumpIf('ge', 'r7', 'r8', 'end'),
      jumpIf('ge', 'r7', MAX_PER_RUN, 'end'),
      ...emit,
      jump('done'),
      label('full'),
      ...count(8),
      label('done'),
      alu('add', 'r7', 1),
      jump('next'),
      label('end'),
      mov('r0', 0),
      exit(),
    ),
    license: 'GPL',
    name: 'emitter',
  });
  const words = async () => {
    const value = (await control.lookup(new Uint8Array(4))) as Uint8Array;
    return new BigUint64Array(value.slice().buffer);
  };
  return {
    program: loaded,
    run: async (records, cpu) => {
      const state = await words();
      state[2] = BigInt(records);
      await control.update(new Uint8Array(4), new Uint8Array(state.buffer));
      await loaded.testRun(cpu === undefined ? {} : { cpu });
    },
    counts: async () => {
      const [emitted = 0n, failed = 0n] = await words();
      return { emitted, failed };
    },
    [Symbol.asyncDispose]: async () => {
      await loaded.close();
      await control.close();
    },
  };
}
