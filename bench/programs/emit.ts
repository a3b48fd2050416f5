import { enums } from '../../src/bpf/index.js';
import * as insn from '../../src/bpf/insn.js';
import type { Program, RingBuffer } from '../../src/kernel/index.js';
import type { Session } from '../../src/session.js';

const { MapType, ProgType, Helper } = enums;
const { alu, call, exit, jump, jumpIf, label, load, loadMap, loadMapValue, mov, program, store } =
  insn;

/** The system call that makes an event; see bench/c/events.c. */
const GETPGID = 121;

/** A ring buffer in a guest and a program that emits a record to it at each getpgid(2) there. */
export interface Emission extends AsyncDisposable {
  readonly ring: RingBuffer;
  readonly program: Program;
  /** The number of records since the program was loaded, and the number of lost ones. */
  counts(): Promise<{ emitted: number; refused: number }>;
}

/** Loads the program for records of `recordBytes`: their number, the time, and what is left. */
export async function emission(
  session: Session,
  ringBytes: number,
  recordBytes: number,
): Promise<Emission> {
  const ring = await session.createMap({
    type: MapType.BPF_MAP_TYPE_RINGBUF,
    maxEntries: ringBytes,
  });
  const counters = await session.createMap({
    type: MapType.BPF_MAP_TYPE_ARRAY,
    keySize: 4,
    valueSize: 16,
    maxEntries: 1,
  });
  const count = (offset: number) => [
    load(8, 'r1', 'r7', offset),
    alu('add', 'r1', 1),
    store(8, 'r7', offset, 'r1'),
  ];
  const loaded = await session.loadProgram({
    type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
    instructions: program(
      load(8, 'r2', 'r1', 8),
      jumpIf('ne', 'r2', GETPGID, 'end'),
      loadMapValue('r7', counters),
      loadMap('r1', ring),
      mov('r2', recordBytes),
      mov('r3', 0),
      call(Helper.BPF_FUNC_ringbuf_reserve),
      jumpIf('eq', 'r0', 0, 'full'),
      mov('r6', 'r0'),
      call(Helper.BPF_FUNC_ktime_get_ns),
      store(8, 'r6', 8, 'r0'),
      load(8, 'r1', 'r7', 0),
      store(8, 'r6', 0, 'r1'),
      ...count(0),
      mov('r1', 'r6'),
      mov('r2', 0),
      call(Helper.BPF_FUNC_ringbuf_submit),
      jump('end'),
      label('full'),
      ...count(8),
      label('end'),
      mov('r0', 0),
      exit(),
    ),
    license: 'GPL',
    name: 'emit',
  });
  return {
    ring,
    program: loaded,
    counts: async () => {
      const value = (await counters.lookup(new Uint8Array(4))) as Uint8Array;
      const [emitted = 0n, refused = 0n] = new BigUint64Array(value.slice().buffer);
      return { emitted: Number(emitted), refused: Number(refused) };
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([ring.close(), counters.close(), loaded.close()]);
    },
  };
}
