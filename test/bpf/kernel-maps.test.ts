import t from 'tap';
import { type Arguments, enums, rows } from '../../src/bpf/index.js';
import { LocalKernel, possibleCpus, whyNoKernel } from './kernel.js';
import { hex } from './tools.js';

const { MapType, ElementFlag } = enums;
const skip = whyNoKernel();

/** Creates a map of 16 entries with 4-byte keys and 8-byte values, changed at will. */
function create(
  kernel: LocalKernel,
  map_type: number,
  changes: Arguments<typeof rows.MAP_CREATE> = {},
) {
  const values = { map_type, key_size: 4, value_size: 8, max_entries: 16, ...changes };
  const { handle } = kernel.call(rows.MAP_CREATE, values);
  kernel.maps.created(handle, values);
  return { handle };
}

t.test('maps of this machine’s kernel', { skip }, async (t) => {
  const kernel = new LocalKernel();
  t.teardown(() => kernel.close());
  const key = hex('01020304');
  const value = hex('1112131415161718');

  t.test('a hash map takes, gives, lists and forgets', async (t) => {
    const map_fd = create(kernel, MapType.BPF_MAP_TYPE_HASH);
    t.equal(
      kernel.try(rows.MAP_LOOKUP_ELEM, { map_fd, key }).error().message,
      'bpf(BPF_MAP_LOOKUP_ELEM) ENOENT',
    );
    kernel.call(rows.MAP_UPDATE_ELEM, { map_fd, key, value, flags: ElementFlag.BPF_NOEXIST });
    const again = { map_fd, key, value, flags: ElementFlag.BPF_NOEXIST };
    t.match(kernel.try(rows.MAP_UPDATE_ELEM, again).error(), { code: 'EEXIST', side: 'guest' });
    t.same(kernel.call(rows.MAP_LOOKUP_ELEM, { map_fd, key }).value, value);
    t.same(kernel.call(rows.MAP_GET_NEXT_KEY, { map_fd }).next_key, key);
    t.match(kernel.try(rows.MAP_GET_NEXT_KEY, { map_fd, key }).error(), { code: 'ENOENT' });
    kernel.call(rows.MAP_DELETE_ELEM, { map_fd, key });
    t.equal(kernel.try(rows.MAP_LOOKUP_ELEM, { map_fd, key }).errno, 2);
  });

  t.test('a queue has no keys', async (t) => {
    const map_fd = create(kernel, MapType.BPF_MAP_TYPE_QUEUE, { key_size: 0, value_size: 5 });
    kernel.call(rows.MAP_UPDATE_ELEM, { map_fd, key: null, value: hex('0102030405') });
    const taken = kernel.call(rows.MAP_LOOKUP_AND_DELETE_ELEM, { map_fd, key: null });
    t.same(taken.value, hex('0102030405'));
    t.equal(kernel.try(rows.MAP_LOOKUP_AND_DELETE_ELEM, { map_fd, key: null }).errno, 2);
  });

  t.test('a bloom filter is asked about a value', async (t) => {
    const map_fd = create(kernel, MapType.BPF_MAP_TYPE_BLOOM_FILTER, { key_size: 0 });
    kernel.call(rows.MAP_UPDATE_ELEM, { map_fd, key: null, value });
    t.equal(kernel.try(rows.MAP_LOOKUP_ELEM_BLOOM_FILTER, { map_fd, key: null, value }).errno, 0);
    const other = new Uint8Array(8);
    const asked = kernel.try(rows.MAP_LOOKUP_ELEM_BLOOM_FILTER, {
      map_fd,
      key: null,
      value: other,
    });
    t.equal(asked.errno, 2);
  });

  t.test('a per-CPU value has a part for every possible CPU', async (t) => {
    const map_fd = create(kernel, MapType.BPF_MAP_TYPE_PERCPU_ARRAY, { value_size: 5 });
    const values = new Uint8Array(8 * possibleCpus);
    for (let cpu = 0; cpu < possibleCpus; cpu++) values.set([cpu, 1, 2, 3, 4], 8 * cpu);
    const first = new Uint8Array(4);
    kernel.call(rows.MAP_UPDATE_ELEM, { map_fd, key: first, value: values });
    t.same(kernel.call(rows.MAP_LOOKUP_ELEM, { map_fd, key: first }).value, values);
  });

  t.test('batches are cut to what there was, and go on where they stopped', async (t) => {
    const map_fd = create(kernel, MapType.BPF_MAP_TYPE_HASH, { key_size: 16 });
    const keys = new Uint8Array(16 * 5).map((_, at) => (at % 16 === 0 ? 1 + at / 16 : 0));
    const values = new Uint8Array(8 * 5).map((_, at) => at);
    t.equal(kernel.call(rows.MAP_UPDATE_BATCH, { map_fd, keys, values }).count, 5);
    let found = 0;
    let in_batch: Uint8Array | undefined;
    for (let rounds = 0; rounds < 100; rounds++) {
      const values = { map_fd, count: 4, ...(in_batch === undefined ? {} : { in_batch }) };
      const { results, errno } = kernel.try(rows.MAP_LOOKUP_BATCH, values);
      t.equal(results.keys.length, 16 * results.count);
      t.equal(results.values.length, 8 * results.count);
      found += results.count;
      in_batch = results.out_batch;
      if (errno !== 0) {
        t.equal(errno, 2);
        break;
      }
    }
    t.equal(found, 5);
  });

  t.test('a map sits in a map by its handle and is looked up as an id', async (t) => {
    const inner = create(kernel, MapType.BPF_MAP_TYPE_ARRAY);
    const changes = { value_size: 4, inner_map_fd: inner };
    const map_fd = create(kernel, MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, changes);
    const first = new Uint8Array(4);
    const value = new Uint8Array(new Uint32Array([inner.handle]).buffer);
    kernel.call(rows.MAP_UPDATE_ELEM, { map_fd, key: first, value });
    const looked = kernel.call(rows.MAP_LOOKUP_ELEM, { map_fd, key: first }).value;
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: inner });
    t.equal(new DataView(looked.buffer, looked.byteOffset).getUint32(0, true), info.id);
  });

  t.test('a map’s info is what it was created with, also through its id', async (t) => {
    const type = MapType.BPF_MAP_TYPE_HASH;
    const map_flags = enums.ObjectFlag.BPF_F_NO_PREALLOC;
    const map = create(kernel, type, { key_size: 12, map_flags, map_name: 'waep_test' });
    const { info, info_len } = kernel.call(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: map });
    t.match(info, {
      type,
      key_size: 12,
      value_size: 8,
      max_entries: 16,
      map_flags,
      name: 'waep_test',
    });
    t.ok(info_len >= 80);
    const twin = kernel.call(rows.MAP_GET_FD_BY_ID, { map_id: info.id });
    const again = kernel.call(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: twin });
    t.same(again.info, info);
    kernel.maps.learned(twin.handle, again.info);
    const missing = { map_fd: twin, key: new Uint8Array(12) };
    t.match(kernel.try(rows.MAP_LOOKUP_ELEM, missing).error(), { code: 'ENOENT' });
    kernel.maps.closed(twin.handle);
    t.throws(() => kernel.try(rows.MAP_LOOKUP_ELEM, missing), { code: 'ERR_BPF_FIELD' });
    const next = kernel.call(rows.MAP_GET_NEXT_ID, { start_id: info.id - 1 });
    t.equal(next.next_id, info.id);
  });

  t.test('a frozen map is not written to', async (t) => {
    const map_fd = create(kernel, MapType.BPF_MAP_TYPE_ARRAY);
    kernel.call(rows.MAP_FREEZE, { map_fd });
    const update = kernel.try(rows.MAP_UPDATE_ELEM, { map_fd, key: new Uint8Array(4), value });
    t.match(update.error(), { code: 'EPERM', command: 'BPF_MAP_UPDATE_ELEM' });
  });
});
