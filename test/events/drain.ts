import { enums, insn, type Session, type UserRingBuffer } from '../../src/index.js';
import { int, Kind, writeBtf } from '../btf/writer.js';

const { Helper, MapType, ProgType } = enums;
const { alu, call, exit, jumpIf, label, load, loadFunction, loadMap, loadMapValue } = insn;
const { mov, program, store } = insn;

/** A program of the guest that takes records from a user ring buffer. */
export interface Drain extends AsyncDisposable {
  /** Takes what there is. */
  run(): Promise<void>;
  /** The sum of the first eight bytes of each record so far, and how many had so many. */
  totals(): Promise<{ sum: bigint; count: bigint }>;
}

/** `int drain(void *)` and `int add(void *, void *)`: what is called back has to have a type. */
const types = writeBtf([
  int('int', 4, 1),
  { kind: Kind.PTR, size: 0 },
  { kind: Kind.FUNC_PROTO, size: 1, vlen: 1, words: ['context', 2] },
  { kind: Kind.FUNC, name: 'drain', size: 3 },
  { kind: Kind.FUNC_PROTO, size: 1, vlen: 2, words: ['record', 2, 'context', 2] },
  { kind: Kind.FUNC, name: 'add', size: 5 },
]);
const DRAIN = 4;
const ADD = 6;
/** Where the second function begins, in instructions: two of those before it take two places. */
const ADD_AT = 9;

/** Loads a program that drains a ring (bpf_user_ringbuf_drain(), since 6.1) and adds up what it has. */
export async function drainOf(session: Session, ring: UserRingBuffer): Promise<Drain> {
  const totals = await session.createMap({
    type: MapType.BPF_MAP_TYPE_ARRAY,
    keySize: 4,
    valueSize: 16,
    maxEntries: 1,
  });
  const drain = [
    loadMap('r1', ring),
    loadFunction('r2', 'add'),
    mov('r3', 0),
    mov('r4', 0),
    call(Helper.BPF_FUNC_user_ringbuf_drain),
    mov('r0', 0),
    exit(),
  ];
  const add = [
    label('add'),
    mov('r3', 'r1'),
    mov('r1', 'r10'),
    alu('add', 'r1', -8),
    mov('r2', 8),
    mov('r4', 0),
    mov('r5', 0),
    call(Helper.BPF_FUNC_dynptr_read),
    jumpIf('ne', 'r0', 0, 'end'),
    loadMapValue('r2', totals),
    load(8, 'r1', 'r10', -8),
    load(8, 'r3', 'r2', 0),
    alu('add', 'r3', 'r1'),
    store(8, 'r2', 0, 'r3'),
    load(8, 'r3', 'r2', 8),
    alu('add', 'r3', 1),
    store(8, 'r2', 8, 'r3'),
    label('end'),
    mov('r0', 0),
    exit(),
  ];
  await using btf = await session.loadBtf(types);
  const loaded = await session.loadProgram({
    type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
    instructions: program(...drain, ...add),
    license: 'GPL',
    name: 'drain',
    btf,
    functions: {
      bytes: new Uint8Array(Uint32Array.of(0, DRAIN, ADD_AT, ADD).buffer),
      recordBytes: 8,
    },
  });
  return {
    run: async () => {
      await loaded.testRun();
    },
    totals: async () => {
      const value = (await totals.lookup(new Uint8Array(4))) as Uint8Array;
      const [sum = 0n, count = 0n] = new BigUint64Array(value.slice().buffer);
      return { sum, count };
    },
    [Symbol.asyncDispose]: async () => {
      await loaded.close();
      await totals.close();
    },
  };
}
