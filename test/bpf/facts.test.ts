/* Facts about types of maps, the memory of attributes, and the arguments of perf events. */
import t from 'tap';
import {
  enums,
  fits,
  iterTargetNamed,
  KnownMaps,
  leastOf,
  mapKind,
  rows,
  valueBytes,
} from '../../src/bpf/index.js';
import {
  fieldOffset,
  readU16,
  readU32,
  readU64,
  writeU32,
  writeU64,
} from '../../src/bpf/little-endian.js';
import { mapKinds, typesWith } from '../../src/bpf/map-kinds.js';
import * as perf from '../../src/bpf/perf.js';
import { batchTokenBytes, knownMap } from '../../src/bpf/specs.js';
import { hex, mapSpec, toHex } from './tools.js';

const { MapType, ObjectFlag } = enums;

t.test('bytes beyond the end read as zero', async (t) => {
  const bytes = hex('0102030405060788 99');
  t.equal(readU16(bytes, 1), 0x0302);
  t.equal(readU16(bytes, 8), 0x99);
  t.equal(readU16(bytes, 9), 0);
  t.equal(readU32(bytes, 0), 0x04030201);
  t.equal(readU32(bytes, 4), 0x88070605, 'it has no sign');
  t.same(
    [5, 6, 7, 8, 9].map((offset) => readU32(bytes, offset)),
    [0x99880706, 0x00998807, 0x00009988, 0x99, 0],
  );
  t.equal(readU64(bytes, 0), 0x8807060504030201n);
  t.equal(readU64(bytes, 4), 0x0000009988070605n);
  t.equal(readU64(hex('00 00 00 00 ff ff ff ff'), 0), 0xffffffff00000000n);
});

t.test('words are written at their place', async (t) => {
  const bytes = new Uint8Array(10);
  writeU32(bytes, 1, 0x84838281);
  t.equal(toHex(bytes), '00818283840000000000');
  writeU64(bytes, 1, 0x8807060504030201n);
  t.equal(toHex(bytes), '00010203040506078800');
  writeU64(bytes, 1, -2n);
  t.equal(toHex(bytes), '00feffffffffffffff00');
  t.equal(fieldOffset(rows.MAP_CREATE, 'max_entries'), 12);
  t.throws(() => fieldOffset(rows.MAP_CREATE, 'none'), { message: 'MAP_CREATE has no field none' });
});

/** The keys, values and entries of each type whose requirements are known. */
const kinds: Readonly<Record<string, [keys: number[], values: number[], entries: string]>> = {
  HASH: [[1, 5000], [1, 5000], 'counted'],
  ARRAY: [[4], [1, 5000], 'counted'],
  PROG_ARRAY: [[4], [4], 'counted'],
  PERF_EVENT_ARRAY: [[4], [4], 'counted'],
  PERCPU_HASH: [[1, 5000], [1, 5000], 'counted'],
  PERCPU_ARRAY: [[4], [1, 5000], 'counted'],
  STACK_TRACE: [[4], [8, 16, 800], 'counted'],
  CGROUP_ARRAY: [[4], [4], 'counted'],
  LRU_HASH: [[1, 5000], [1, 5000], 'counted'],
  LRU_PERCPU_HASH: [[1, 5000], [1, 5000], 'counted'],
  LPM_TRIE: [[5, 260], [1, 5000], 'counted'],
  ARRAY_OF_MAPS: [[4], [4], 'counted'],
  HASH_OF_MAPS: [[1, 5000], [4], 'counted'],
  DEVMAP: [[4], [4, 8], 'counted'],
  SOCKMAP: [[4], [4, 8], 'counted'],
  CPUMAP: [[4], [4, 8], 'counted'],
  XSKMAP: [[4], [4], 'counted'],
  SOCKHASH: [[1, 5000], [4, 8], 'counted'],
  CGROUP_STORAGE: [[8, 16], [1, 5000], 'none'],
  REUSEPORT_SOCKARRAY: [[4], [4, 8], 'counted'],
  PERCPU_CGROUP_STORAGE: [[8, 16], [1, 5000], 'none'],
  QUEUE: [[0], [1, 5000], 'counted'],
  STACK: [[0], [1, 5000], 'counted'],
  SK_STORAGE: [[4], [1, 5000], 'none'],
  DEVMAP_HASH: [[4], [4, 8], 'counted'],
  STRUCT_OPS: [[4], [1, 5000], 'counted'],
  RINGBUF: [[0], [0], 'ring bytes'],
  INODE_STORAGE: [[4], [1, 5000], 'none'],
  TASK_STORAGE: [[4], [1, 5000], 'none'],
  BLOOM_FILTER: [[0], [1, 5000], 'counted'],
  USER_RINGBUF: [[0], [0], 'ring bytes'],
  CGRP_STORAGE: [[4], [1, 5000], 'none'],
  ARENA: [[0], [0], 'counted'],
  INSN_ARRAY: [[4], [16], 'counted'],
  RHASH: [[1, 5000], [1, 5000], 'counted'],
};
const sizes = [0, 1, 4, 5, 8, 12, 16, 260, 261, 800, 5000];
const typeOf = (name: string) => MapType[`BPF_MAP_TYPE_${name}` as keyof typeof MapType];

t.test('what every kernel requires of a map of a type', async (t) => {
  for (const [name, [keys, values, entries]] of Object.entries(kinds)) {
    const kind = mapKind(typeOf(name));
    if (kind === undefined) throw new Error(`nothing is known of ${name}`);
    t.match(kind, { name: name.toLowerCase(), entries });
    const allowed = (of: typeof kind.keySizes) => sizes.filter((size) => fits(size, of));
    const within = (some: number[]) =>
      some.length === 2 && some[1] === 5000
        ? sizes.filter((size) => size >= 1)
        : name === 'STACK_TRACE' && some.length === 3
          ? [8, 16, 800, 5000]
          : name === 'LPM_TRIE' && some[1] === 260
            ? [5, 8, 12, 16, 260]
            : some;
    t.same(allowed(kind.keySizes), within(keys), `${name}: keys`);
    t.same(allowed(kind.valueSizes), within(values), `${name}: values`);
  }
  const unknown = Object.entries(MapType).filter(
    ([constant, type]) =>
      mapKind(type) === undefined && kinds[constant.replace('BPF_MAP_TYPE_', '')] !== undefined,
  );
  t.same(unknown, []);
  t.equal(mapKind(0), undefined);
  t.equal(mapKind(4000), undefined);
  t.same([leastOf([16, 8]), leastOf({ from: 5, to: 9 })], [16, 5]);
});

t.test('types with something of their own', async (t) => {
  const namesWith = (holds: (name: string) => boolean) => Object.keys(kinds).filter(holds);
  const with_ = (fact: Parameters<typeof typesWith>[0]) =>
    namesWith((name) => typesWith(fact)[typeOf(name)] === true);
  t.same(with_('perCpu'), [
    'PERCPU_HASH',
    'PERCPU_ARRAY',
    'LRU_PERCPU_HASH',
    'PERCPU_CGROUP_STORAGE',
  ]);
  t.same(with_('holdsFds'), [
    ...['PROG_ARRAY', 'PERF_EVENT_ARRAY', 'CGROUP_ARRAY', 'ARRAY_OF_MAPS', 'HASH_OF_MAPS'],
  ]);
  t.same(with_('hashed'), [
    ...['HASH', 'PERCPU_HASH', 'LRU_HASH', 'LRU_PERCPU_HASH', 'HASH_OF_MAPS'],
  ]);
  const flagged = (flag: number) => namesWith((name) => mapKind(typeOf(name))?.flags === flag);
  t.same(flagged(ObjectFlag.BPF_F_NO_PREALLOC), [
    ...['LPM_TRIE', 'SK_STORAGE', 'INODE_STORAGE', 'TASK_STORAGE', 'CGRP_STORAGE', 'RHASH'],
  ]);
  t.same(flagged(ObjectFlag.BPF_F_MMAPABLE), ['ARENA']);
  const needing = (what: string) => namesWith((name) => mapKind(typeOf(name))?.needs === what);
  const indexed = namesWith((name) => mapKind(typeOf(name))?.indexed === true);
  t.same(indexed, ['ARRAY', 'PERCPU_ARRAY']);
  t.same(needing('types of the kernel'), ['STRUCT_OPS']);
  t.same(
    namesWith((name) => mapKind(typeOf(name))?.recognized !== undefined).map((name) => {
      return [name, mapKind(typeOf(name))?.recognized];
    }),
    [
      ['STRUCT_OPS', { values: { btf_vmlinux_value_type_id: 0x7fffffff }, errno: 'ENOTSUPP' }],
      ['ARENA', { values: { max_entries: 0x20, map_extra: 0xffff0000 }, errno: 'ERANGE' }],
    ],
  );
  t.same(
    mapKinds.map(([type, { name }]) => [type, name]),
    Object.entries(MapType)
      .filter(([, type]) => mapKind(type) !== undefined)
      .sort(([, a], [, b]) => a - b)
      .map(([constant, type]) => [type, constant.replace('BPF_MAP_TYPE_', '').toLowerCase()]),
  );
  t.ok(mapKinds.length >= Object.keys(kinds).length);
  t.same(needing('inner map'), ['ARRAY_OF_MAPS', 'HASH_OF_MAPS']);
  t.same(needing('types'), ['SK_STORAGE', 'INODE_STORAGE', 'TASK_STORAGE', 'CGRP_STORAGE']);
});

t.test('the bytes of values and positions', async (t) => {
  const perCpu = mapSpec({ type: MapType.BPF_MAP_TYPE_PERCPU_HASH, valueSize: 9 });
  t.equal(valueBytes(perCpu, 3), 48);
  for (const flag of [8, 16, 24]) t.equal(valueBytes(perCpu, 3, flag), 9, 'one value');
  t.equal(valueBytes(perCpu, 3, 4), 48, 'another flag');
  t.equal(valueBytes(mapSpec({ type: MapType.BPF_MAP_TYPE_PROG_ARRAY, valueSize: 9 }), 3), 4);
  t.equal(valueBytes(mapSpec({ valueSize: 9 }), 3), 9);
  t.equal(batchTokenBytes(mapSpec({ keySize: 9 })), 4);
  t.equal(batchTokenBytes(mapSpec({ keySize: 9, type: MapType.BPF_MAP_TYPE_LPM_TRIE })), 9);
});

t.test('maps that are known', async (t) => {
  const known = new KnownMaps(5);
  t.equal(known.possibleCpus, 5);
  known.created(1, { map_type: 2, key_size: 4, value_size: 8, max_entries: 9, map_flags: 1 });
  t.same(known.mapSpec(1), { type: 2, keySize: 4, valueSize: 8, maxEntries: 9, flags: 1 });
  known.created(2, {});
  t.same(known.mapSpec(2), { type: 0, keySize: 0, valueSize: 0, maxEntries: 0, flags: 0 });
  const info = { type: 3, key_size: 5, value_size: 6, max_entries: 7, map_flags: 8 };
  known.learned(3, info as Parameters<KnownMaps['learned']>[1]);
  t.same(known.mapSpec(3), { type: 3, keySize: 5, valueSize: 6, maxEntries: 7, flags: 8 });
  known.set(4, mapSpec());
  t.same(known.mapSpec(4), mapSpec());
  known.closed(1);
  t.equal(known.mapSpec(1), undefined);
  t.ok(known.mapSpec(2));
  known.clear();
  t.same(
    [2, 3, 4].map((handle) => known.mapSpec(handle)),
    [undefined, undefined, undefined],
  );
  t.throws(() => knownMap(known, 2, 'MAP_LOOKUP_ELEM', 'map_fd'), {
    code: 'ERR_BPF_FIELD',
    detail: { command: 'MAP_LOOKUP_ELEM', field: 'map_fd', value: 'handle 2' },
    message: /a map whose key and value sizes are known; ask for its info first/,
  });
});

t.test('targets of iterators', async (t) => {
  const targets = {
    ...{ bpf_map_elem: 'map', bpf_sk_storage_map: 'map', sockmap: 'map', cgroup: 'cgroup' },
    ...{ task: 'task', task_file: 'task', task_vma: 'task', ksym: 'other', tcp: 'other' },
  };
  for (const [name, target] of Object.entries(targets)) {
    t.equal(iterTargetNamed(`bpf_iter_${name}`), target, name);
    t.equal(iterTargetNamed(name), target);
  }
});

t.test('the attribute of a perf event', async (t) => {
  const attribute = perf.perfAttribute({
    ...{ type: 1, config: 2, config1: 3n, config2: 2n ** 63n - 1n, samplePeriod: 5 },
    ...{ sampleType: 6, readFormat: 7, flags: 8n, wakeupEvents: 9 },
  });
  const view = Buffer.from(attribute);
  t.equal(view.length, 112);
  t.same([view.readUInt32LE(0), view.readUInt32LE(4), view.readUInt32LE(48)], [1, 112, 9]);
  t.same(
    [8, 16, 24, 32, 40, 56, 64].map((offset) => view.readBigInt64LE(offset)),
    [2n, 5n, 6n, 7n, 8n, 3n, 2n ** 63n - 1n],
  );
  const plain = Buffer.from(perf.perfAttribute({ type: 4 }));
  t.equal(
    plain.subarray(8).every((byte) => byte === 0),
    true,
    'what is left out is 0',
  );
  t.equal(perf.PERF_ATTR_SIZE_VER0, 64);
});

t.test('requests of perf events have an argument of their own', async (t) => {
  const { PerfIoctl } = enums;
  const expected: Readonly<Record<keyof typeof PerfIoctl, object>> = {
    PERF_EVENT_IOC_ENABLE: { is: 'number' },
    PERF_EVENT_IOC_DISABLE: { is: 'number' },
    PERF_EVENT_IOC_REFRESH: { is: 'number' },
    PERF_EVENT_IOC_RESET: { is: 'number' },
    PERF_EVENT_IOC_PERIOD: { is: 'buffer', flow: 'in', bytes: 8 },
    PERF_EVENT_IOC_SET_OUTPUT: { is: 'descriptor' },
    PERF_EVENT_IOC_SET_FILTER: { is: 'text' },
    PERF_EVENT_IOC_ID: { is: 'buffer', flow: 'out', bytes: 8 },
    PERF_EVENT_IOC_SET_BPF: { is: 'descriptor', use: 'attach' },
    PERF_EVENT_IOC_PAUSE_OUTPUT: { is: 'number' },
    PERF_EVENT_IOC_QUERY_BPF: { is: 'query' },
    PERF_EVENT_IOC_MODIFY_ATTRIBUTES: { is: 'attribute' },
  };
  for (const [name, argument] of Object.entries(expected)) {
    const request = PerfIoctl[name as keyof typeof PerfIoctl];
    t.same(perf.perfIoctls.get(request), argument, name);
  }
  t.equal(perf.perfIoctls.size, Object.keys(expected).length);
});

t.test('the identity at the end of a record', async (t) => {
  const bytes = (flags: bigint, sampleType: bigint) =>
    perf.sampleIdBytes(Buffer.from(perf.perfAttribute({ type: 1, flags, sampleType })));
  const all = 1n << 18n;
  t.equal(bytes(all, 0n), 0);
  for (const bit of [1, 2, 6, 7, 9, 16]) t.equal(bytes(all, 1n << BigInt(bit)), 8, `bit ${bit}`);
  for (const bit of [0, 3, 4, 5, 8, 10, 15, 17])
    t.equal(bytes(all, 1n << BigInt(bit)), 0, `bit ${bit}`);
  t.equal(bytes(all, 0xffffffffn), 48);
  t.equal(bytes(~all & 0xffffffffn, 0xffffffffn), 0, 'records have none');
});
