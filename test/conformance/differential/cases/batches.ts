/* Cases about many elements in one call. */
import { type Case, type Layout, NOWHERE, type Place } from '../script.js';
import { Cmd, MapType } from '../uapi.js';
import type { World } from '../world.js';
import { type Add, collect, lengths } from './collect.js';
import { element, hash, map, pattern, prog, words } from './objects.js';

const { MAP_LOOKUP_BATCH, MAP_LOOKUP_AND_DELETE_BATCH, MAP_UPDATE_BATCH, MAP_DELETE_BATCH } = Cmd;
const COUNT = 4;
const UNKNOWN_FLAG = 0x40n;

/** A map type that handles several elements together. */
interface Kind {
  readonly name: string;
  readonly type: number;
  readonly key?: number;
  readonly value?: number;
  readonly flags?: number;
  readonly more?: (c: Case) => Layout;
  /** The bytes of a value as the kernel copies them. */
  readonly valueBytes?: number;
  /** The bytes of the token that says where to continue. */
  readonly tokenBytes?: number;
  /** Whether the kernel decides the order of the elements. */
  readonly shuffled?: boolean;
}

function kinds(world: World): Kind[] {
  const perCpu = 8 * world.possibleCpus;
  return [
    { name: 'HASH', type: MapType.HASH, shuffled: true },
    { name: 'HASH with keys of 16 bytes', type: MapType.HASH, key: 16, shuffled: true },
    { name: 'HASH with keys of 2 bytes', type: MapType.HASH, key: 2, shuffled: true },
    { name: 'LRU_HASH', type: MapType.LRU_HASH, shuffled: true },
    { name: 'PERCPU_HASH', type: MapType.PERCPU_HASH, valueBytes: perCpu, shuffled: true },
    { name: 'LRU_PERCPU_HASH', type: MapType.LRU_PERCPU_HASH, valueBytes: perCpu, shuffled: true },
    { name: 'ARRAY', type: MapType.ARRAY },
    { name: 'PERCPU_ARRAY', type: MapType.PERCPU_ARRAY, valueBytes: perCpu },
    { name: 'LPM_TRIE', type: MapType.LPM_TRIE, key: 8, flags: 1, tokenBytes: 8 },
    { name: 'QUEUE', type: MapType.QUEUE, key: 0 },
    { name: 'STACK_TRACE', type: MapType.STACK_TRACE, value: 16 },
    { name: 'RINGBUF', type: MapType.RINGBUF, key: 0, value: 0 },
    { name: 'PROG_ARRAY', type: MapType.PROG_ARRAY, value: 4 },
    {
      name: 'HASH_OF_MAPS',
      type: MapType.HASH_OF_MAPS,
      value: 4,
      more: (c) => ({ 20: hash(c) }),
      shuffled: true,
    },
  ];
}

function make(c: Case, kind: Kind): number {
  const { type, key = 4, value = 8, flags = 0 } = kind;
  const entries = type === MapType.RINGBUF ? 4096 : COUNT;
  return map(c, { type, key, value, flags, entries, more: kind.more?.(c) ?? {} });
}

/**
 * Returns keys that begin with 0, 1, 2, and so on. Keys of an LPM trie begin with a prefix length.
 */
function keys({ type, key = 4 }: Kind, count: number): Uint8Array {
  const all = Array.from({ length: count }, (_, at) => {
    if (type === MapType.LPM_TRIE) return Buffer.concat([words(32), pattern(4, 10 * at + 1)]);
    return Buffer.concat([Uint8Array.of(at), new Uint8Array(Math.max(0, key - 1))]).subarray(
      0,
      key,
    );
  });
  return Buffer.concat(all);
}

function values(c: Case, kind: Kind, count: number): Uint8Array {
  if (kind.type === MapType.HASH_OF_MAPS) {
    return Buffer.concat(Array.from({ length: count }, () => words(hash(c))));
  }
  return pattern((kind.valueBytes ?? kind.value ?? 8) * count, 0x30);
}

function placed(c: Case, bytes: Uint8Array): Place | bigint {
  return bytes.length === 0 ? 0n : c.put(bytes);
}

function fill(c: Case, fd: number, kind: Kind, count = COUNT, flags = 0n): void {
  c.bpf(MAP_UPDATE_BATCH, {
    16: placed(c, keys(kind, count)),
    24: placed(c, values(c, kind, count)),
    32: count,
    36: fd,
    40: flags,
    48: 0n,
  });
}

/** Reads until the end. A map of maps returns ids. */
function drain(c: Case, command: number, fd: number, kind: Kind, count: number): void {
  const token = c.room(Math.max(4, kind.tokenBytes ?? kind.key ?? 4));
  const size = kind.valueBytes ?? kind.value ?? 8;
  for (const first of [true, false, false]) {
    const [keyRoom, valueRoom] = [
      c.room(Math.max(1, (kind.key ?? 4) * count)),
      c.room(Math.max(1, size * count)),
    ];
    // The bucket of an element depends on a seed that differs with each map.
    if (kind.shuffled === true) {
      c.differs('hash seed', keyRoom, 0, keyRoom.sizeBytes);
      c.differs('hash seed', valueRoom, 0, valueRoom.sizeBytes);
      c.differs('hash seed', token, 0, token.sizeBytes);
    }
    c.bpf(command, {
      0: first ? 0n : token,
      8: token,
      16: keyRoom,
      24: valueRoom,
      32: count,
      36: fd,
      40: 0n,
      48: 0n,
    });
  }
}

function every(add: Add, world: World): void {
  for (const kind of kinds(world)) {
    add(MAP_UPDATE_BATCH, kind.name, (c) => {
      const fd = make(c, kind);
      fill(c, fd, kind);
      fill(c, fd, kind, 2, 1n);
      fill(c, fd, kind, 2, 2n);
      fill(c, fd, kind, COUNT + 2);
      fill(c, fd, kind, 0);
    });
    add(MAP_LOOKUP_BATCH, kind.name, (c) => {
      const fd = make(c, kind);
      fill(c, fd, kind);
      drain(c, MAP_LOOKUP_BATCH, fd, kind, COUNT + 2);
    });
    add(MAP_LOOKUP_AND_DELETE_BATCH, kind.name, (c) => {
      const fd = make(c, kind);
      fill(c, fd, kind);
      drain(c, MAP_LOOKUP_AND_DELETE_BATCH, fd, kind, COUNT + 2);
    });
    add(MAP_DELETE_BATCH, kind.name, (c) => {
      const fd = make(c, kind);
      fill(c, fd, kind);
      for (const count of [2, COUNT, 0]) {
        const layout = { 16: placed(c, keys(kind, count)), 32: count, 36: fd, 40: 0n, 48: 0n };
        c.bpf(MAP_DELETE_BATCH, layout);
      }
    });
  }
}

function refusals(add: Add): void {
  const kind: Kind = { name: 'ARRAY', type: MapType.ARRAY };
  const table: Kind = { name: 'HASH', type: MapType.HASH };
  const layout = (c: Case, fd: number): Layout => ({
    0: 0n,
    8: c.room(4),
    16: c.put(keys(kind, 2)),
    24: c.put(pattern(16)),
    32: 2,
    36: fd,
    40: 0n,
    48: 0n,
  });
  const commands = [
    MAP_LOOKUP_BATCH,
    MAP_LOOKUP_AND_DELETE_BATCH,
    MAP_UPDATE_BATCH,
    MAP_DELETE_BATCH,
  ];
  for (const command of commands) {
    for (const [name, fd] of [
      ['a descriptor that is not open', () => 899],
      ['descriptor −1', () => -1],
      ['a program', (c: Case) => prog(c)],
      ['a file', (c: Case) => c.open('/proc/version')],
      ['a map for reading', (c: Case) => map(c, { type: MapType.ARRAY, flags: 8 })],
      ['a map for writing', (c: Case) => map(c, { type: MapType.ARRAY, flags: 16 })],
    ] as const) {
      add(command, name, (c) => c.bpf(command, layout(c, fd(c))));
    }
    for (const [name, offset] of [
      ['no token to write', 8],
      ['no keys', 16],
      ['no values', 24],
    ] as const) {
      add(command, name, (c) => {
        const fd = make(c, kind);
        c.bpf(command, { ...layout(c, fd), [offset]: 0n });
        c.bpf(command, { ...layout(c, fd), [offset]: NOWHERE });
      });
    }
    add(command, 'unknown flags', (c) => {
      const fd = make(c, kind);
      c.bpf(command, { ...layout(c, fd), 40: UNKNOWN_FLAG });
      c.bpf(command, { ...layout(c, fd), 48: UNKNOWN_FLAG });
      c.bpf(command, { ...layout(c, fd), 40: 4n });
    });
    add(command, 'something behind its last field', (c) =>
      c.bpf(command, { ...layout(c, make(c, kind)), 56: 1 }),
    );
    add(command, 'half of the memory that it needs', (c) => {
      const fd = make(c, kind);
      c.bpf(command, { ...layout(c, fd), 16: c.put(words(0)) });
      c.bpf(command, { ...layout(c, fd), 24: c.put(pattern(12)) });
    });
    for (const sizeBytes of lengths.filter((length) => length < 64)) {
      add(command, `an attribute of ${sizeBytes} bytes`, (c) =>
        c.bpf(command, layout(c, make(c, kind)), { sizeBytes }),
      );
    }
  }
  add(MAP_LOOKUP_BATCH, 'a token of nobody’s', (c) => {
    for (const one of [kind, table]) {
      const fd = make(c, one);
      fill(c, fd, one, 2);
      for (const token of [words(77), words(0xffff_ffff)]) {
        c.bpf(MAP_LOOKUP_BATCH, { ...layout(c, fd), 0: c.put(token), 24: c.room(16) });
      }
      c.bpf(MAP_LOOKUP_BATCH, { ...layout(c, fd), 0: NOWHERE });
    }
  });
  add(MAP_LOOKUP_BATCH, 'fewer at a time than a bucket may have', (c) => {
    const fd = make(c, kind);
    fill(c, fd, kind);
    drain(c, MAP_LOOKUP_BATCH, fd, kind, 1);
    drain(c, MAP_LOOKUP_BATCH, fd, kind, 3);
  });
  add(MAP_UPDATE_BATCH, 'an element that is there, where none may be', (c) => {
    const fd = make(c, table);
    c.bpf(Cmd.MAP_UPDATE_ELEM, element(fd, c.put(words(1)), c.put(pattern(8))));
    fill(c, fd, table, COUNT, 1n);
  });
}

/** Lookups, updates and deletions of many elements. */
export function batchCases(world: World): Case[] {
  return collect((add) => {
    every(add, world);
    refusals(add);
  });
}
