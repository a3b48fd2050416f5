import t from 'tap';
import {
  bytes,
  count,
  enums,
  type KeyedMap,
  objectId,
  perCpu,
  rows,
  type SystemError,
  struct,
  text,
  u32,
  u64,
} from '../../src/index.js';
import { session as open, skip } from './local-session.js';

const { MapType } = enums;

t.test('maps', { skip }, async (t) => {
  const session = await open(t);
  const cpus = session.kernel.possibleCpus;

  t.test('keys and values are what their codecs say', async (t) => {
    await using map = await session.createMap({
      type: MapType.BPF_MAP_TYPE_HASH,
      key: struct({ pid: u32, comm: text(16) }),
      value: struct({ calls: u64, share: count }),
      maxEntries: 3,
      name: 'typed',
    });
    const key = { pid: 1, comm: 'init' };
    t.equal(await map.lookup(key), undefined);
    await map.update(key, { calls: 5, share: 2 });
    t.same(await map.lookup(key), { calls: 5n, share: 2 });
    await map.update({ pid: 2, comm: 'sh' }, { calls: 2n ** 64n - 1n, share: 1 });
    const entries = new Map<number, bigint>();
    for await (const [{ pid }, { calls }] of map) entries.set(pid, calls);
    t.same([...entries].sort(), [
      [1, 5n],
      [2, 2n ** 64n - 1n],
    ]);
    t.match(await map.nextKey(), { pid: /\d/ });
    t.same(await map.lookupMany([key, { pid: 9, comm: '' }]), [{ calls: 5n, share: 2 }, undefined]);
    t.equal(await map.delete(key), true);
    t.equal(await map.delete(key), false);
    await t.rejects(map.update({ pid: -1, comm: 'x' }, { calls: 0, share: 0 }), {
      code: 'ERR_CODEC_VALUE',
      message: /^map "typed" key\.pid is -1; expected an integer/,
    });
    await t.rejects(map.update({ pid: 1, comm: 'x'.repeat(16) }, { calls: 0, share: 0 }), {
      message: /^map "typed" key\.comm is "x+"; expected text of at most 15 bytes/,
    });
    t.match(await map.info(), { name: 'typed', keySize: 20, valueSize: 16, maxEntries: 3 });
  });

  t.test('the kernel’s refusals name the map and say what they mean', async (t) => {
    await using map = await session.createMap({
      type: MapType.BPF_MAP_TYPE_HASH,
      key: u32,
      value: u32,
      maxEntries: 1,
      name: 'small',
    });
    await map.update(1, 1, enums.ElementFlag.BPF_NOEXIST);
    await t.rejects(map.update(2, 1), {
      code: 'E2BIG',
      object: 'map "small"',
      message:
        'bpf(BPF_MAP_UPDATE_ELEM) E2BIG, map "small": it is full, or the index is beyond its end',
    });
    await t.rejects(map.update(1, 2, enums.ElementFlag.BPF_NOEXIST), {
      code: 'EEXIST',
      why: 'the key is there already',
    });
    await map.freeze();
    await t.rejects(map.update(1, 3), { code: 'EPERM', message: /it is frozen/ });
    t.equal(await map.lookup(1), 1);
    await t.rejects(
      session.createMap({
        ...{ type: MapType.BPF_MAP_TYPE_HASH, key: u32, value: u32, maxEntries: 1, name: 'bad' },
        flags: enums.ObjectFlag.BPF_F_STACK_BUILD_ID,
      }),
      { code: 'EINVAL', message: /map "bad": the type does not take these sizes/ },
    );
    await t.rejects(
      session.createMap({
        type: MapType.BPF_MAP_TYPE_HASH,
        key: u32,
        keySize: 8,
        value: u32,
        maxEntries: 1,
      }),
      { code: 'ERR_OPTION_INVALID', message: /keySize: 8\. Expected 4, the size of a u32/ },
    );
  });

  t.test('values per CPU are arrays', async (t) => {
    for (const type of [MapType.BPF_MAP_TYPE_PERCPU_HASH, MapType.BPF_MAP_TYPE_PERCPU_ARRAY]) {
      await using map = await session.createMap({
        type,
        key: u32,
        value: perCpu(struct({ hits: u32, misses: u32, last: u32 })),
        maxEntries: 10,
      });
      const values = Array.from({ length: cpus }, (_, cpu) => ({ hits: cpu, misses: 1, last: 9 }));
      await map.update(3, values);
      t.same(await map.lookup(3), values);
      const entries = new Map<number, unknown>();
      for await (const [key, value] of map) entries.set(key, value);
      t.equal(entries.size, type === MapType.BPF_MAP_TYPE_PERCPU_HASH ? 1 : 10);
      t.same(entries.get(3), values, 'in a batch, too');
      const zeroes = values.map(() => ({ hits: 0, misses: 0, last: 0 }));
      entries.delete(3);
      for (const value of entries.values()) t.same(value, zeroes);
    }
    const plain = { key: u32, value: u64, maxEntries: 1 };
    await t.rejects(session.createMap({ ...plain, type: MapType.BPF_MAP_TYPE_PERCPU_ARRAY }), {
      code: 'ERR_OPTION_INVALID',
      message: /perCpu\(u64\): the map has a value for each CPU/,
    });
    await t.rejects(
      session.createMap({ ...plain, value: perCpu(u64), type: MapType.BPF_MAP_TYPE_ARRAY }),
      { code: 'ERR_OPTION_INVALID', message: /without perCpu/ },
    );
  });

  t.test('many entries at a time, whatever the type of map', async (t) => {
    const { BPF_MAP_TYPE_LPM_TRIE } = MapType;
    const types = {
      HASH: MapType.BPF_MAP_TYPE_HASH,
      LRU_HASH: MapType.BPF_MAP_TYPE_LRU_HASH,
      ARRAY: MapType.BPF_MAP_TYPE_ARRAY,
      LPM_TRIE: BPF_MAP_TYPE_LPM_TRIE,
    };
    const size = 1000;
    for (const [name, type] of Object.entries(types)) {
      for (const batchEntries of [undefined, 64, 1]) {
        const what = `${name}, batches of ${batchEntries ?? 'the usual size'}`;
        await using map = await session.createMap({
          type,
          // A trie's keys are a prefix length and the bits.
          key: type === BPF_MAP_TYPE_LPM_TRIE ? prefix : u32,
          value: u64,
          maxEntries: type === MapType.BPF_MAP_TYPE_LRU_HASH ? 4 * size : size,
          flags: type === BPF_MAP_TYPE_LPM_TRIE ? enums.ObjectFlag.BPF_F_NO_PREALLOC : 0,
        });
        const options = batchEntries === undefined ? {} : { batchEntries };
        const entries = Array.from({ length: size }, (_, i) => [i, i * 3] as const);
        t.equal(await map.updateMany(entries, options), size, what);
        const seen = new Map<number, bigint>();
        for await (const [key, value] of map.entries(options)) seen.set(key, value);
        t.equal(seen.size, size, what);
        t.equal(seen.get(700), 2100n, what);
        let keys = 0;
        for await (const _ of map.keys(options)) keys++;
        t.equal(keys, size, `${what}: keys`);
        if (type === MapType.BPF_MAP_TYPE_ARRAY) continue;
        const gone = [1, 5000, 2, 3, 6000].filter((key) => key < size || name !== 'LPM_TRIE');
        t.equal(await map.deleteMany(gone, options), 3, `${what}: deleted`);
        t.equal(await map.lookup(2), undefined);
        const drained: number[] = [];
        for await (const [key] of map.drain(options)) drained.push(key);
        t.equal(new Set(drained).size, size - 3, `${what}: drained`);
        t.equal(await map.nextKey(), undefined, `${what}: empty`);
      }
    }
  });

  t.test('entries that are asked for at the same time are all there', async (t) => {
    const type = MapType.BPF_MAP_TYPE_HASH;
    await using map = await session.createMap({ type, key: u32, value: u32, maxEntries: 10 });
    for (let key = 0; key < 10; key++) await map.update(key, key);
    for (const one of [map.entries({ batchEntries: 4 }), map.drain({ batchEntries: 4 })]) {
      const all = await Promise.all(Array.from({ length: 12 }, () => one.next()));
      const keys = all.map(({ value }) => value?.[0]);
      t.same(new Set(keys), new Set([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, undefined]));
      t.same(keys.slice(10), [undefined, undefined]);
    }
  });

  t.test('a bucket with more entries than a batch', async (t) => {
    await using map = await session.createMap({
      type: MapType.BPF_MAP_TYPE_HASH,
      key: u32,
      value: u32,
      maxEntries: 3000,
    });
    await map.updateMany(Array.from({ length: 3000 }, (_, i) => [i, i] as const));
    let entries = 0;
    for await (const batch of map.batches({ batchEntries: 2 })) entries += batch.length;
    t.equal(entries, 3000);
  });

  t.test('a loop that is left early', async (t) => {
    await using map = await session.createMap({
      type: MapType.BPF_MAP_TYPE_ARRAY,
      key: u32,
      value: u32,
      maxEntries: 100,
    });
    for await (const [key] of map.entries({ batchEntries: 10 })) if (key === 15) break;
    const signal = AbortSignal.abort(new Error('enough'));
    await t.rejects(map.entries({ signal }).next(), { code: 'ERR_CALL_ABORTED' });
    t.equal(await map.lookup(3), 0, 'the session goes on');
  });

  t.test('writes that fail say which entry it was', async (t) => {
    await using map = await session.createMap({
      type: MapType.BPF_MAP_TYPE_HASH,
      key: u32,
      value: u32,
      maxEntries: 5,
      name: 'five',
    });
    const entries = Array.from({ length: 8 }, (_, i) => [i, i] as const);
    await t.rejects(map.updateMany(entries), { code: 'E2BIG', object: 'map "five", entry 5' });
    await t.rejects(map.updateMany([[1, 2 ** 33]]), {
      message: /^map "five", entry 0 is 8589934592/,
    });
    let left = 0;
    for await (const _ of map) left++;
    t.equal(left, 5, 'those before it are set');
  });

  t.test('queues, stacks and bloom filters have no keys', async (t) => {
    for (const [type, order] of [
      [MapType.BPF_MAP_TYPE_QUEUE, [1, 2, 3]],
      [MapType.BPF_MAP_TYPE_STACK, [3, 2, 1]],
    ] as const) {
      await using map = await session.createMap({ type, value: u32, maxEntries: 3 });
      t.equal(await map.pop(), undefined);
      for (const value of [1, 2, 3]) await map.push(value);
      await t.rejects(map.push(4), { code: 'E2BIG' });
      t.equal(await map.peek(), order[0]);
      for (const value of order) t.equal(await map.pop(), value);
      t.equal(await map.peek(), undefined);
    }
    const type = MapType.BPF_MAP_TYPE_BLOOM_FILTER;
    await using filter = await session.createMap({ type, value: u32, maxEntries: 100, extra: 5 });
    await filter.push(7);
    t.equal(await filter.mayHave(7), true);
    t.equal(await filter.mayHave(8), false);
  });

  t.test('maps in maps', async (t) => {
    const inner = { type: MapType.BPF_MAP_TYPE_ARRAY, key: u32, value: u32, maxEntries: 2 };
    await using first = await session.createMap({ ...inner, name: 'inner' });
    await using outer = await session.createMap({
      type: MapType.BPF_MAP_TYPE_HASH_OF_MAPS,
      key: u32,
      value: objectId,
      maxEntries: 4,
      innerMap: first,
    });
    await first.update(1, 42);
    await outer.update(9, first);
    const id = await outer.lookup(9);
    t.equal(id, (await first.info()).id);
    await using again = await session.map({ id: id ?? 0 }, { key: u32, value: u32 });
    t.equal(await again.lookup(1), 42);
    t.equal(again.name, 'inner');
    await t.rejects(session.map({ id: id ?? 0 }, { key: u64 }), {
      code: 'ERR_OPTION_INVALID',
      message: /key: "u64 of 8 bytes"\. Expected a codec of 4 bytes/,
    });
  });

  t.test('bytes, for who wants them as they are', async (t) => {
    await using map: KeyedMap = await session.createMap({
      type: MapType.BPF_MAP_TYPE_HASH,
      keySize: 4,
      valueSize: 3,
      maxEntries: 2,
      name: 'raw',
    });
    const key = Uint8Array.of(1, 2, 3, 4);
    await map.update(key, Uint8Array.of(5, 6, 7));
    t.same(await map.lookup(key), Uint8Array.of(5, 6, 7));
    await t.rejects(map.lookup(Uint8Array.of(1)), {
      code: 'ERR_CODEC_VALUE',
      message: 'map "raw" key is "1 bytes"; expected a Uint8Array of 4 bytes.',
    });
    for await (const [found, value] of map) t.same([found, value], [key, Uint8Array.of(5, 6, 7)]);
    t.same(await map.lookupAndDelete(key), Uint8Array.of(5, 6, 7));
    t.equal(await map.lookupAndDelete(key), undefined);
    await using other = await session.map({ id: (await map.info()).id }, { value: bytes(3) });
    t.same(other.spec, map.spec);
  });

  t.test('every map of the kernel', async (t) => {
    await using map = await session.createMap({
      type: MapType.BPF_MAP_TYPE_ARRAY,
      key: u32,
      value: u32,
      maxEntries: 1,
      name: 'listed',
    });
    const { id } = await map.info();
    const found = [];
    for await (const info of session.maps()) if (info.id === id) found.push(info.name);
    t.same(found, ['listed']);
    await map.close();
    const gone = await session.map({ id }).catch((error: SystemError) => error);
    t.match(gone, { code: 'ENOENT', object: `map ${id}`, why: 'there is no such object any more' });
  });

  t.test('an errno can be an answer', async (t) => {
    await using map = await session.createMap({ type: 1, keySize: 4, valueSize: 4, maxEntries: 9 });
    const values = { map_fd: map, key: new Uint8Array(4) };
    const outcome = await session.tryBpf(rows.MAP_LOOKUP_ELEM, values);
    t.match(outcome, { result: -1, errno: 2 });
    t.match(outcome.error(), { code: 'ENOENT', command: 'BPF_MAP_LOOKUP_ELEM' });
  });
});

/** An IPv4 address as a whole prefix, in the shape of `struct bpf_lpm_trie_key`. */
const prefix = {
  name: 'prefix',
  sizeBytes: 8,
  alignBytes: 4,
  read: (view: DataView, offset: number) => view.getUint32(offset + 4),
  write(view: DataView, offset: number, value: number) {
    view.setUint32(offset, 32, true);
    view.setUint32(offset + 4, value);
  },
};
