/* Cases about maps of every type: making them, and the commands on single elements. */
import { type Case, type Layout, NOWHERE, type Reason } from '../script.js';
import { Cmd, MapType, ProgType } from '../uapi.js';
import type { World } from '../world.js';
import { integers } from './btf.js';
import { type Add, collect } from './collect.js';
import { ask, element, hash, map, mapAttribute, pattern, prog, words } from './objects.js';

const { MAP_CREATE, MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, MAP_GET_NEXT_KEY } = Cmd;
const NO_PREALLOC = 1;
const MMAPABLE = 1 << 10;

/** A map type, and elements for it. */
interface Kind {
  readonly name: keyof typeof MapType;
  /** Creates a map of the type and returns its descriptor. */
  make(c: Case): number;
  /** The bytes of keys and values as bpf(2) copies them. */
  readonly keyBytes: number;
  readonly valueBytes: number;
  /** Returns a key for the map, made in the case that uses it. */
  key(c: Case): Uint8Array;
  /** Returns a second key. */
  other(c: Case): Uint8Array;
  /** Returns a value for the map, made in the case that uses it. */
  value(c: Case): Uint8Array;
  /** Whether looked-up values differ from run to run, and why. */
  readonly varies?: Reason;
}

function simple(
  name: keyof typeof MapType,
  shape: { key?: number; value?: number; entries?: number; flags?: number; more?: Layout } = {},
  traits: Partial<Omit<Kind, 'name'>> = {},
): Kind {
  const { key = 4, value = 8 } = shape;
  return {
    name,
    make: (c) => map(c, { type: MapType[name], ...shape }),
    keyBytes: key,
    valueBytes: value,
    key: () => (key === 4 ? words(1) : pattern(key)),
    other: () => (key === 4 ? words(2) : pattern(key, 2)),
    value: () => pattern(value, 0x30),
    ...traits,
  };
}

/** A map of local storage. It needs BTF for its keys and values, and a key is a descriptor. */
function storage(name: keyof typeof MapType, owner = '/sys/fs/cgroup/diff'): Kind {
  const owners = new WeakMap<Case, Uint8Array>();
  const key = (c: Case) => {
    const opened = owners.get(c) ?? words(c.open(owner));
    owners.set(c, opened);
    return opened;
  };
  return {
    ...simple(name, { value: 4 }),
    make: (c) => {
      const { fd } = c.bpf(Cmd.BTF_LOAD, { 0: c.put(integers), 16: integers.length });
      const more = { 48: fd, 52: 1, 56: 1 };
      return map(c, { type: MapType[name], value: 4, entries: 0, flags: NO_PREALLOC, more });
    },
    key,
    other: (c) => words(c.open('/proc/version')),
  };
}

function mapOfMaps(name: 'ARRAY_OF_MAPS' | 'HASH_OF_MAPS'): Kind {
  return {
    ...simple(name, { value: 4 }),
    make: (c) => map(c, { type: MapType[name], value: 4, more: { 20: hash(c) } }),
    value: (c) => words(hash(c)),
    varies: 'map id',
  };
}

const none = () => new Uint8Array(0);
const keyless = { key: none, other: none };

/** The map types, each with elements. */
function kinds(world: World): Kind[] {
  const perCpu = { valueBytes: 8 * world.possibleCpus };
  const perCpuValue = () => pattern(8 * world.possibleCpus, 0x30);
  return [
    simple('HASH'),
    simple('ARRAY'),
    simple('PROG_ARRAY', { value: 4 }, { value: (c) => words(prog(c)), varies: 'program id' }),
    simple('PERF_EVENT_ARRAY', { value: 4 }),
    simple('PERCPU_HASH', {}, { ...perCpu, value: perCpuValue }),
    simple('PERCPU_ARRAY', {}, { ...perCpu, value: perCpuValue }),
    simple('STACK_TRACE', { value: 16 }),
    simple('CGROUP_ARRAY', { value: 4 }, { value: (c) => words(c.open('/sys/fs/cgroup/diff')) }),
    simple('LRU_HASH'),
    simple('LRU_PERCPU_HASH', {}, { ...perCpu, value: perCpuValue }),
    simple(
      'LPM_TRIE',
      { key: 8, flags: NO_PREALLOC },
      {
        key: () => Buffer.concat([words(24), pattern(4, 10)]),
        other: () => words(16, 0x0b0a),
      },
    ),
    mapOfMaps('ARRAY_OF_MAPS'),
    mapOfMaps('HASH_OF_MAPS'),
    simple('DEVMAP', { value: 4 }, { value: () => words(1) }),
    simple('DEVMAP_HASH', { value: 8 }, { value: () => words(1, 0) }),
    simple(
      'CPUMAP',
      { value: 4 },
      { key: () => words(0), other: () => words(1), value: () => words(192) },
    ),
    simple('XSKMAP', { value: 4 }),
    simple('SOCKMAP', { value: 4 }),
    simple('SOCKHASH', { value: 8 }),
    simple('REUSEPORT_SOCKARRAY', { value: 8 }),
    simple('CGROUP_STORAGE', { key: 16, entries: 0 }),
    simple('PERCPU_CGROUP_STORAGE', { key: 16, entries: 0 }, { ...perCpu, value: perCpuValue }),
    simple('QUEUE', { key: 0 }, keyless),
    simple('STACK', { key: 0 }, keyless),
    storage('INODE_STORAGE'),
    storage('TASK_STORAGE'),
    storage('CGRP_STORAGE'),
    simple('RINGBUF', { key: 0, value: 0, entries: 4096 }, keyless),
    simple('USER_RINGBUF', { key: 0, value: 0, entries: 4096 }, keyless),
    simple('BLOOM_FILTER', { key: 0, more: { 64: 3n } }, keyless),
    simple('ARENA', { key: 0, value: 0, entries: 2, flags: MMAPABLE }, keyless),
    simple('STRUCT_OPS', { value: 64, entries: 1 }),
  ];
}

/** Only sockets can fill these maps, and a socket of this host does not exist in the guest. */
const notCarried = new Set(['SOCKMAP', 'SOCKHASH', 'REUSEPORT_SOCKARRAY', 'XSKMAP', 'STRUCT_OPS']);

/** Puts the kind's element into a map, if the map takes it, and returns the bytes. */
function fill(c: Case, fd: number, kind: Kind, flags = 0) {
  if (notCarried.has(kind.name)) return;
  const value = c.put(kind.value(c));
  c.bpf(MAP_UPDATE_ELEM, element(fd, keyPlace(c, kind), value, flags));
}

function keyPlace(c: Case, kind: Kind, key = kind.key(c)) {
  return kind.keyBytes === 0 ? 0n : c.put(key);
}

function lookUp(c: Case, command: number, fd: number, kind: Kind, key: Uint8Array, flags = 0) {
  const value = c.room(kind.valueBytes);
  if (kind.varies !== undefined) c.differs(kind.varies, value, 0);
  c.bpf(command, element(fd, keyPlace(c, kind, key), value, flags));
}

type Play = (c: Case, kind: Kind, fd: number) => void;

/** The operations on a map of every type. */
const plays: readonly (readonly [command: number, name: string, play: Play])[] = [
  [MAP_UPDATE_ELEM, 'an element', (c, kind, fd) => fill(c, fd, kind)],
  [
    MAP_UPDATE_ELEM,
    'an element twice, each way',
    (c, kind, fd) => {
      fill(c, fd, kind, 2);
      fill(c, fd, kind, 1);
      fill(c, fd, kind, 1);
      fill(c, fd, kind, 2);
    },
  ],
  [MAP_UPDATE_ELEM, 'unknown flags', (c, kind, fd) => fill(c, fd, kind, 0x40)],
  [
    MAP_LOOKUP_ELEM,
    'an element',
    (c, kind, fd) => {
      fill(c, fd, kind);
      lookUp(c, MAP_LOOKUP_ELEM, fd, kind, kind.key(c));
    },
  ],
  [
    MAP_LOOKUP_ELEM,
    'what is not there',
    (c, kind, fd) => lookUp(c, MAP_LOOKUP_ELEM, fd, kind, kind.other(c)),
  ],
  [
    MAP_LOOKUP_ELEM,
    'unknown flags',
    (c, kind, fd) => lookUp(c, MAP_LOOKUP_ELEM, fd, kind, kind.other(c), 0x40),
  ],
  [
    MAP_GET_NEXT_KEY,
    'the first, the next and the last key',
    (c, kind, fd) => {
      fill(c, fd, kind);
      const next = c.room(Math.max(1, kind.keyBytes));
      c.bpf(MAP_GET_NEXT_KEY, { 0: fd, 8: 0n, 16: next });
      c.bpf(MAP_GET_NEXT_KEY, { 0: fd, 8: next, 16: next });
      c.bpf(MAP_GET_NEXT_KEY, { 0: fd, 8: c.put(kind.key(c)), 16: next });
    },
  ],
  [
    MAP_DELETE_ELEM,
    'an element, and again',
    (c, kind, fd) => {
      fill(c, fd, kind);
      c.bpf(MAP_DELETE_ELEM, { 0: fd, 8: keyPlace(c, kind) });
      c.bpf(MAP_DELETE_ELEM, { 0: fd, 8: keyPlace(c, kind) });
    },
  ],
  [
    Cmd.MAP_LOOKUP_AND_DELETE_ELEM,
    'an element, and again',
    (c, kind, fd) => {
      fill(c, fd, kind);
      lookUp(c, Cmd.MAP_LOOKUP_AND_DELETE_ELEM, fd, kind, kind.key(c));
      lookUp(c, Cmd.MAP_LOOKUP_AND_DELETE_ELEM, fd, kind, kind.key(c));
    },
  ],
  [
    Cmd.MAP_FREEZE,
    'and then write',
    (c, kind, fd) => {
      c.bpf(Cmd.MAP_FREEZE, { 0: fd });
      c.bpf(Cmd.MAP_FREEZE, { 0: fd });
      fill(c, fd, kind);
    },
  ],
];

/** Returns the cases about maps of every type, single elements, and the kernel's refusals. */
export function mapCases(world: World): Case[] {
  return collect((add) => {
    for (const kind of kinds(world)) {
      add(MAP_CREATE, kind.name, (c) => kind.make(c));
      add(Cmd.OBJ_GET_INFO_BY_FD, `a map: ${kind.name}`, (c) => {
        const fd = kind.make(c);
        const { info } = ask(c, fd, 88);
        c.differs('id', info, 4);
        c.differs('BTF id', info, 64);
      });
      for (const [command, name, play] of plays) {
        if (notCarried.has(kind.name) && command === MAP_UPDATE_ELEM) continue;
        add(command, `${kind.name}: ${name}`, (c) => play(c, kind, kind.make(c)));
      }
    }
    creation(add);
    refusals(add);
  });
}

/** MAP_CREATE: sizes, flags, names, and attributes of every length. */
function creation(add: Add): void {
  const { HASH, ARRAY } = MapType;
  const wrong: Record<string, Layout> = {
    'no such type': mapAttribute({ type: 200 }),
    'type 0': mapAttribute({ type: 0 }),
    'no key': mapAttribute({ type: HASH, key: 0 }),
    'no value': mapAttribute({ type: HASH, value: 0 }),
    'no entries': mapAttribute({ type: HASH, entries: 0 }),
    'a key of 1 KiB': mapAttribute({ type: HASH, key: 1024 }),
    'a value of 4 GiB': mapAttribute({ type: HASH, value: 0xffff_fff0 }),
    'an array with 8-byte keys': mapAttribute({ type: ARRAY, key: 8 }),
    'an array too large for memory': mapAttribute({
      type: ARRAY,
      value: 1 << 30,
      entries: 1 << 30,
    }),
    'unknown flags': mapAttribute({ type: HASH, flags: 0x4000_0000 }),
    'both read-only and write-only': mapAttribute({ type: HASH, flags: 8 | 16 }),
    'read-only': mapAttribute({ type: HASH, flags: 8 }),
    'write-only': mapAttribute({ type: HASH, flags: 16 }),
    'read-only for programs': mapAttribute({ type: ARRAY, flags: 1 << 7 }),
    'not preallocated': mapAttribute({ type: HASH, flags: 1 }),
    'an array that can be mapped': mapAttribute({ type: ARRAY, flags: MMAPABLE }),
    'a hash that can be mapped': mapAttribute({ type: HASH, flags: MMAPABLE }),
    'on NUMA node 0': mapAttribute({ type: HASH, flags: 4, more: { 24: 0 } }),
    'on a NUMA node that is not there': mapAttribute({ type: HASH, flags: 4, more: { 24: 63 } }),
    'a NUMA node without its flag': mapAttribute({ type: HASH, more: { 24: 1 } }),
    'a name': mapAttribute({ type: HASH, more: { 28: 'a.name_1' } }),
    'a name of 15 letters': mapAttribute({ type: HASH, more: { 28: 'abcdefghijklmno' } }),
    'a name without end': mapAttribute({ type: HASH, more: { 28: 'abcdefghijklmnop' } }),
    'a name with a blank': mapAttribute({ type: HASH, more: { 28: 'a b' } }),
    'on an interface that is not there': mapAttribute({ type: HASH, more: { 44: 77 } }),
    'on an interface that offloads nothing': mapAttribute({ type: HASH, more: { 44: 1 } }),
    'BTF types without BTF': mapAttribute({ type: HASH, more: { 52: 1, 56: 1 } }),
    'a BTF type of descriptor 0': mapAttribute({ type: HASH, more: { 48: 0, 56: 1 } }),
    'BTF that is not open': mapAttribute({ type: HASH, more: { 48: 899, 52: 1, 56: 1 } }),
    'an inner map for none': mapAttribute({ type: HASH, more: { 20: 899 } }),
    'maps of maps without an inner map': mapAttribute({ type: MapType.HASH_OF_MAPS, value: 4 }),
    'an inner map that is not open': mapAttribute({
      type: MapType.HASH_OF_MAPS,
      value: 4,
      more: { 20: 899 },
    }),
    'more bits for a hash': mapAttribute({ type: HASH, more: { 64: 7n } }),
    'a ring buffer of 5000 bytes': mapAttribute({
      type: MapType.RINGBUF,
      key: 0,
      value: 0,
      entries: 5000,
    }),
    'a Bloom filter with 16 hashes': mapAttribute({
      type: MapType.BLOOM_FILTER,
      key: 0,
      more: { 64: 16n },
    }),
    'a value type in a BTF object without its flag': mapAttribute({
      type: HASH,
      more: { 72: 899 },
    }),
    'a token without its flag': mapAttribute({ type: HASH, more: { 76: 899 } }),
    'a token that is not open': mapAttribute({
      type: HASH,
      flags: 1 << 16,
      more: { 76: 899 },
    }),
  };
  for (const [name, layout] of Object.entries(wrong)) {
    add(MAP_CREATE, name, (c) => c.bpf(MAP_CREATE, layout));
  }
  const attribute = mapAttribute({ type: HASH });
  for (const sizeBytes of [0, 1, 4, 16, 18, 20, 28, 44, 72, 120, 128, 168, 255, 4095, 4096]) {
    add(MAP_CREATE, `an attribute of ${sizeBytes} bytes`, (c) =>
      c.bpf(
        MAP_CREATE,
        { ...attribute, [Math.max(20, sizeBytes)]: new Uint8Array(0) },
        { sizeBytes },
      ),
    );
  }
  for (const sizeBytes of [4097, 1 << 20]) {
    add(MAP_CREATE, `an attribute of ${sizeBytes} bytes`, (c) =>
      c.bpf(MAP_CREATE, attribute, { sizeBytes }),
    );
  }
  for (const offset of [100, 167, 168, 200, 4095]) {
    add(MAP_CREATE, `an attribute with something at byte ${offset}`, (c) =>
      c.bpf(MAP_CREATE, { ...attribute, [offset]: Uint8Array.of(1) }),
    );
  }
  add(MAP_CREATE, 'an attribute that is not there', (c) =>
    c.bpf(MAP_CREATE, attribute, { attribute: NOWHERE }),
  );
  add(MAP_CREATE, 'no attribute', (c) => c.bpf(MAP_CREATE, attribute, { attribute: 0n }));
  add(MAP_CREATE, 'BTF types for key and value', (c) => {
    const { fd } = c.bpf(Cmd.BTF_LOAD, { 0: c.put(integers), 16: integers.length });
    map(c, { type: HASH, value: 4, more: { 48: fd, 52: 1, 56: 1 } });
    map(c, { type: HASH, value: 4, more: { 48: fd, 52: 1, 56: 2 } });
    map(c, { type: HASH, value: 8, more: { 48: fd, 52: 1, 56: 1 } });
    map(c, { type: MapType.QUEUE, key: 0, value: 4, more: { 48: fd, 52: 1, 56: 1 } });
  });
  add(MAP_CREATE, 'the wrong kind of descriptor for BTF', (c) =>
    map(c, { type: HASH, value: 4, more: { 48: hash(c), 52: 1, 56: 1 } }),
  );
  add(MAP_CREATE, 'the wrong kind of descriptor for an inner map', (c) =>
    map(c, { type: MapType.ARRAY_OF_MAPS, value: 4, more: { 20: prog(c) } }),
  );
  add(MAP_CREATE, 'maps of maps of maps', (c) => {
    const inner = map(c, { type: MapType.ARRAY_OF_MAPS, value: 4, more: { 20: hash(c) } });
    map(c, { type: MapType.ARRAY_OF_MAPS, value: 4, more: { 20: inner } });
  });
}

/** Element commands with wrong descriptors, pointers and attributes. */
function refusals(add: Add): void {
  const commands = [
    MAP_LOOKUP_ELEM,
    MAP_UPDATE_ELEM,
    MAP_DELETE_ELEM,
    MAP_GET_NEXT_KEY,
    Cmd.MAP_LOOKUP_AND_DELETE_ELEM,
  ];
  const deletes = (command: number) => command === MAP_DELETE_ELEM;
  const layout = (c: Case, command: number, fd: number): Layout => {
    const keyed = { 0: fd, 8: c.put(words(1)) };
    return deletes(command) ? keyed : { ...keyed, 16: c.room(8) };
  };
  for (const command of commands) {
    add(command, 'a descriptor that is not open', (c) => c.bpf(command, layout(c, command, 899)));
    add(command, 'descriptor −1', (c) => c.bpf(command, layout(c, command, -1)));
    add(command, 'a descriptor that has been closed', (c) => {
      const fd = hash(c);
      c.close(fd);
      c.bpf(command, layout(c, command, fd));
    });
    add(command, 'a program', (c) => c.bpf(command, layout(c, command, prog(c))));
    add(command, 'a file', (c) => c.bpf(command, layout(c, command, c.open('/proc/version'))));
    add(command, 'no key', (c) => c.bpf(command, { ...layout(c, command, hash(c)), 8: 0n }));
    add(command, 'a key that is not there', (c) =>
      c.bpf(command, { ...layout(c, command, hash(c)), 8: NOWHERE }),
    );
    add(command, 'a key of which the half is there', (c) => {
      const half = c.put(words(1));
      c.bpf(command, { ...layout(c, command, hash(c)), 8: half.address + 2n });
    });
    if (!deletes(command)) {
      for (const [name, address] of [
        ['no value', 0n],
        ['a value that is not there', NOWHERE],
      ] as const) {
        add(command, name, (c) => {
          const fd = hash(c);
          const key = c.put(words(1));
          c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put(pattern(8))));
          c.bpf(command, { 0: fd, 8: key, 16: address });
        });
      }
      add(command, 'a value of which the half is there', (c) => {
        const fd = hash(c);
        const key = c.put(words(1));
        c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put(pattern(8))));
        const half = c.room(4);
        c.bpf(command, { 0: fd, 8: key, 16: half });
      });
    }
    add(command, 'something behind its last field', (c) =>
      c.bpf(command, { ...layout(c, command, hash(c)), 32: 1 }),
    );
    add(command, 'an attribute that ends in its pointers', (c) =>
      c.bpf(command, layout(c, command, hash(c)), { sizeBytes: 12 }),
    );
    for (const [name, flags] of [
      ['a map for reading', 8],
      ['a map for writing', 16],
    ] as const) {
      add(command, name, (c) =>
        c.bpf(command, layout(c, command, map(c, { type: MapType.HASH, flags }))),
      );
    }
  }
  add(MAP_UPDATE_ELEM, 'more elements than there is room for', (c) => {
    const fd = hash(c, 2);
    for (const key of [1, 2, 3, 4, 2]) {
      c.bpf(MAP_UPDATE_ELEM, element(fd, c.put(words(key)), c.put(pattern(8, key))));
    }
  });
  add(MAP_UPDATE_ELEM, 'an index beyond the end', (c) => {
    const fd = map(c, { type: MapType.ARRAY });
    c.bpf(MAP_UPDATE_ELEM, element(fd, c.put(words(4)), c.put(pattern(8))));
    c.bpf(MAP_LOOKUP_ELEM, element(fd, c.put(words(4)), c.room(8)));
  });
  add(MAP_LOOKUP_ELEM, 'a locked value without a lock', (c) => {
    const fd = hash(c);
    c.bpf(MAP_UPDATE_ELEM, element(fd, c.put(words(1)), c.put(pattern(8)), 4));
    c.bpf(MAP_LOOKUP_ELEM, element(fd, c.put(words(1)), c.room(8), 4));
  });
  add(MAP_LOOKUP_ELEM, 'odd sizes', (c) => {
    const fd = map(c, { type: MapType.HASH, key: 3, value: 5 });
    const key = c.put(pattern(3));
    c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put(pattern(5))));
    c.bpf(MAP_LOOKUP_ELEM, element(fd, key, c.room(5)));
    c.bpf(MAP_GET_NEXT_KEY, { 0: fd, 8: 0n, 16: c.room(3) });
  });
  add(MAP_LOOKUP_ELEM, 'a value that is read-only memory', (c) => {
    const fd = hash(c);
    const key = c.put(words(1));
    c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put(pattern(8))));
    c.bpf(MAP_LOOKUP_ELEM, element(fd, key, c.put(pattern(8, 9), 1)));
  });
  for (const value of [100, 4096, 5000, 70_000]) {
    add(MAP_LOOKUP_ELEM, `a value of ${value} bytes that ends in zeroes`, (c) => {
      const fd = map(c, { type: MapType.HASH, value, entries: 2 });
      const key = c.put(words(1));
      c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put({ 0: 7, [value - 30]: new Uint8Array(30) })));
      c.bpf(MAP_LOOKUP_ELEM, element(fd, key, c.room(value)));
      c.bpf(MAP_LOOKUP_ELEM, element(fd, c.put(words(2)), c.room(value)));
    });
  }
  add(MAP_UPDATE_ELEM, 'programs that are none', (c) => {
    const fd = map(c, { type: MapType.PROG_ARRAY, value: 4 });
    const key = c.put(words(0));
    c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put(words(899))));
    c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put(words(hash(c)))));
    c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put(words(prog(c, ProgType.XDP)))));
  });
  add(MAP_UPDATE_ELEM, 'inner maps that do not fit', (c) => {
    const fd = map(c, { type: MapType.HASH_OF_MAPS, value: 4, more: { 20: hash(c) } });
    const key = c.put(words(0));
    c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put(words(899))));
    c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put(words(prog(c)))));
    const other = map(c, { type: MapType.HASH, value: 16 });
    c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put(words(other))));
  });
  add(MAP_UPDATE_ELEM, 'storage of what is no such thing', (c) => {
    const { fd: types } = c.bpf(Cmd.BTF_LOAD, { 0: c.put(integers), 16: integers.length });
    const more = { 48: types, 52: 1, 56: 1 };
    for (const type of [MapType.INODE_STORAGE, MapType.TASK_STORAGE, MapType.CGRP_STORAGE]) {
      const fd = map(c, { type, value: 4, entries: 0, flags: NO_PREALLOC, more });
      for (const owner of [899, c.open('/sys/fs/cgroup/diff'), c.open('/proc/version')]) {
        const key = c.put(words(owner));
        c.bpf(MAP_UPDATE_ELEM, element(fd, key, c.put(pattern(4))));
        c.bpf(MAP_LOOKUP_ELEM, element(fd, key, c.room(4)));
        c.bpf(MAP_DELETE_ELEM, { 0: fd, 8: key });
      }
    }
  });
  for (const sizeBytes of [0, 3, 4, 8, 200]) {
    add(Cmd.MAP_FREEZE, `an attribute of ${sizeBytes} bytes`, (c) =>
      c.bpf(Cmd.MAP_FREEZE, { 0: hash(c), 196: 0 }, { sizeBytes }),
    );
  }
  add(Cmd.MAP_FREEZE, 'a descriptor that is not open', (c) => c.bpf(Cmd.MAP_FREEZE, { 0: 899 }));
  add(Cmd.MAP_FREEZE, 'a program', (c) => c.bpf(Cmd.MAP_FREEZE, { 0: prog(c) }));
}
