import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type Arguments, encode, enums, insn, rows } from '../../src/bpf/index.js';
import { LocalKernel, lacks, whyNoKernel } from './kernel.js';
import { hex } from './tools.js';

const { exit, mov, program } = insn;
const { MapType, ObjectFlag, ProgType, TestRunFlag } = enums;
const skip = whyNoKernel();
const EPERM = 1;
const ENOENT = 2;
const E2BIG = 7;
const EINVAL = 22;
const ENOSPC = 28;
const ENOTSUPP = 524;

const returns = (value: number) => program(mov('r0', value), exit());
const idOf = (bytes: Uint8Array | undefined) =>
  new DataView((bytes ?? new Uint8Array(4)).slice().buffer).getUint32(0, true);

t.test('objects of this machine’s kernel', { skip }, async (t) => {
  const kernel = new LocalKernel();
  t.teardown(() => kernel.close());
  const load = (
    prog_type: number,
    insns = returns(0),
    changes: Partial<Arguments<typeof rows.PROG_LOAD>> = {},
  ) => kernel.call(rows.PROG_LOAD, { prog_type, insns, license: 'GPL', ...changes });
  const create = (values: Arguments<typeof rows.MAP_CREATE>) => {
    const map = kernel.call(rows.MAP_CREATE, values);
    kernel.maps.created(map.handle, values);
    return map;
  };
  const hash = { map_type: MapType.BPF_MAP_TYPE_HASH, key_size: 4, value_size: 8, max_entries: 8 };

  t.test('ids are counted up, and lead to the objects', async (t) => {
    const prog = load(ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT);
    const { id } = kernel.call(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd: prog }).info;
    t.equal(kernel.call(rows.PROG_GET_NEXT_ID, { start_id: id - 1 }).next_id, id);
    const twin = kernel.call(rows.PROG_GET_FD_BY_ID, { prog_id: id });
    t.equal(kernel.call(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd: twin }).info.id, id);
    t.ok(kernel.call(rows.BTF_GET_NEXT_ID, { start_id: 0 }).next_id > 0);
    const last = 0x7fff_ffff;
    for (const row of [rows.PROG_GET_NEXT_ID, rows.BTF_GET_NEXT_ID, rows.LINK_GET_NEXT_ID]) {
      t.equal(kernel.try(row, { start_id: last - 1 }).errno, ENOENT);
      t.equal(kernel.try(row, { start_id: last, open_flags: 77 }).errno, EINVAL);
    }
    t.equal(kernel.try(rows.LINK_GET_FD_BY_ID, { link_id: last }).errno, ENOENT);
  });

  t.test('objects are pinned by their path, and found again', async (t) => {
    const mount = mkdtempSync(join(tmpdir(), 'waep-bpffs-'));
    execFileSync('mount', ['-t', 'bpf', 'none', mount]);
    t.teardown(() => {
      execFileSync('umount', ['--lazy', mount]);
      rmdirSync(mount);
    });
    const map = create(hash);
    kernel.call(rows.OBJ_PIN, { pathname: `${mount}/map`, bpf_fd: map });
    const found = kernel.call(rows.OBJ_GET, { pathname: `${mount}/map` });
    const info = (bpf_fd: { handle: number }) =>
      kernel.call(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd }).info;
    t.equal(info(found).id, info(map).id);
    const path_fd = kernel.open(mount);
    const relative = { pathname: 'map', path_fd, file_flags: ObjectFlag.BPF_F_PATH_FD };
    const beside = kernel.try(rows.OBJ_GET, relative);
    if (beside.errno === EINVAL) lacks(t, 'pins relative to folders', '6.5');
    else t.equal(info({ handle: beside.handle }).id, info(map).id);
    const readOnly = { pathname: `${mount}/map`, file_flags: ObjectFlag.BPF_F_RDONLY };
    const reader = kernel.call(rows.OBJ_GET, readOnly);
    kernel.maps.learned(reader.handle, info(reader));
    const update = { map_fd: reader, key: new Uint8Array(4), value: new Uint8Array(8) };
    t.equal(kernel.try(rows.MAP_UPDATE_ELEM, update).errno, EPERM);
    t.equal(kernel.try(rows.OBJ_GET, { pathname: `${mount}/nothing` }).errno, ENOENT);
    const token = kernel.try(rows.TOKEN_CREATE, { bpffs_fd: path_fd });
    t.ok(token.errno > 0, 'there are no tokens outside of user namespaces');
    unlinkSync(`${mount}/map`);
    kernel.forget(path_fd, found, reader);
  });

  t.test('a program keeps a map that it does not mention', async (t) => {
    const map_fd = create(hash);
    const prog_fd = load(ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT);
    kernel.call(rows.PROG_BIND_MAP, { prog_fd, map_fd });
    const asked = { bpf_fd: prog_fd, info: { nr_map_ids: 4 } };
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_PROG, asked);
    t.equal(info.nr_map_ids, 1);
    t.equal(
      idOf(info.map_ids),
      kernel.call(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: map_fd }).info.id,
    );
    t.equal(kernel.try(rows.PROG_BIND_MAP, { prog_fd, map_fd, flags: 1 }).errno, EINVAL);
  });

  t.test('what a program costs is counted while somebody asks', async (t) => {
    const prog_fd = load(ProgType.BPF_PROG_TYPE_SOCKET_FILTER);
    const stats = kernel.call(rows.ENABLE_STATS, { type: 0 });
    const data_in = new Uint8Array(64);
    kernel.call(rows.PROG_TEST_RUN, { prog_fd, data_in, repeat: 10 });
    const { run_cnt } = kernel.call(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd: prog_fd }).info;
    t.ok(run_cnt >= 0n);
    kernel.forget(stats);
    t.equal(kernel.try(rows.ENABLE_STATS, { type: 99 }).errno, EINVAL);
  });

  t.test('a run takes data and context, and gives them back', async (t) => {
    const pass = 2;
    const prog_fd = load(ProgType.BPF_PROG_TYPE_XDP, returns(pass));
    const data_in = new Uint8Array(64).map((_, at) => at);
    const whole = { prog_fd, data_in, data_size_out: 128 };
    const ran = kernel.call(rows.PROG_TEST_RUN, whole);
    t.match(ran, { retval: pass, data_size_out: 64 });
    t.same(ran.data_out, data_in, 'as long as the kernel says, not as the room');
    const short = kernel.try(rows.PROG_TEST_RUN, { ...whole, data_size_out: 16 });
    t.equal(short.errno, ENOSPC);
    t.match(short.results, { retval: pass, data_size_out: 64 }, 'results come with the error');
    t.same(short.results.data_out, data_in.slice(0, 16));
    const ctx_in = new Uint8Array(24);
    new DataView(ctx_in.buffer).setUint32(4, 64, true);
    const context = kernel.call(rows.PROG_TEST_RUN, { ...whole, ctx_in, ctx_size_out: 24 });
    t.equal(context.ctx_size_out, 24);
    t.same(context.ctx_out, ctx_in);
    const flags = TestRunFlag.BPF_F_TEST_RUN_ON_CPU;
    const raw = load(ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT, returns(9));
    t.equal(kernel.call(rows.PROG_TEST_RUN, { prog_fd: raw, flags, cpu: 0 }).retval, 9);
    t.ok(kernel.try(rows.PROG_TEST_RUN, { prog_fd: raw, flags, cpu: 100_000 }).errno > 0);
  });

  t.test('a system call program writes to its context', async (t) => {
    const sleepable = enums.ProgFlag.BPF_F_SLEEPABLE;
    const insns = program(insn.store(4, 'r1', 4, 77), mov('r0', 3), exit());
    const prog_fd = load(ProgType.BPF_PROG_TYPE_SYSCALL, insns, { prog_flags: sleepable });
    const ran = kernel.call(rows.PROG_TEST_RUN, { prog_fd, ctx_in: hex('0100000000000000') });
    t.match(ran, { retval: 3, ctx_in: hex('010000004d000000') });
  });

  t.test('a program’s streams are read', async (t) => {
    const prog_fd = load(ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT);
    const read = kernel.try(rows.PROG_STREAM_READ_BY_FD, {
      prog_fd,
      stream_id: enums.Stream.BPF_STREAM_STDOUT,
      stream_buf_len: 64,
    });
    if (read.errno === EINVAL) return lacks(t, 'streams', '6.17');
    t.equal(read.reply.result, 0);
    t.same(read.results.stream_buf, new Uint8Array(0));
    const unknown = { prog_fd, stream_id: 99, stream_buf_len: 64 };
    t.equal(kernel.try(rows.PROG_STREAM_READ_BY_FD, unknown).errno, ENOENT);
    return undefined;
  });

  t.test('what this kernel is too old for is refused by it', async (t) => {
    const map_fd = create(hash);
    const prog_fd = load(ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT);
    t.equal(kernel.try(rows.PROG_ASSOC_STRUCT_OPS, { map_fd, prog_fd }).errno, EINVAL);
    const token = kernel.try(rows.OBJ_GET_INFO_BY_FD_TOKEN, { bpf_fd: map_fd });
    t.equal(token.errno, 0, 'a map has its info under whatever name it is asked for');
    const common = { log_level: 1, log_size: 256 };
    const { call } = encode(rows.MAP_CREATE, hash, kernel.maps, 77, common);
    const made = kernel.make(call);
    if (made.errno === EINVAL) lacks(t, 'common attributes', '7.2');
    else t.equal(made.errno, 0);
  });

  t.test('records that the kernel does not know tell how long its own are', async (t) => {
    const failed = kernel.try(rows.PROG_LOAD, {
      prog_type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      insns: returns(0),
      license: 'GPL',
      prog_btf_fd: kernel.call(rows.BTF_GET_FD_BY_ID, { btf_id: 1 }),
      func_info: new Uint8Array(40).fill(1),
      func_info_rec_size: 40,
    });
    if (failed.errno === E2BIG) t.equal(failed.results.func_info_rec_size, 8);
    else
      t.pass('the length', {
        skip: `this kernel looks at something else first: errno ${failed.errno}`,
      });
  });

  t.test('batches work on every type of map that has them', async (t) => {
    const count = 3;
    const types = [
      ['HASH', 4],
      ['LRU_HASH', 4],
      ['PERCPU_HASH', 4],
      ['LRU_PERCPU_HASH', 4],
      ['ARRAY', 4],
      ['PERCPU_ARRAY', 4],
      ['LPM_TRIE', 8],
    ] as const;
    const key = (at: number, size: number) =>
      Uint8Array.from({ length: size }, (_, byte) =>
        byte === 0 ? (size === 8 ? 32 : at) : byte === 4 ? at : 0,
      );
    for (const [name, key_size] of types) {
      const map_type = MapType[`BPF_MAP_TYPE_${name}`];
      const map_flags = name === 'LPM_TRIE' ? ObjectFlag.BPF_F_NO_PREALLOC : 0;
      const map_fd = create({
        ...hash,
        map_type,
        key_size,
        value_size: 8,
        map_flags,
        max_entries: count,
      });
      const stride = name.includes('PERCPU') ? 8 * kernel.maps.possibleCpus : 8;
      const keys = Buffer.concat(Array.from({ length: count }, (_, at) => key(at, key_size)));
      const values = new Uint8Array(stride * count).map((_, at) => at);
      const update = kernel.try(rows.MAP_UPDATE_BATCH, { map_fd, keys, values });
      if (update.errno === ENOTSUPP && !/^(LRU_)?HASH|^ARRAY/.test(name)) {
        lacks(t, `batches of ${name}`, '5.13');
        continue;
      }
      if (update.errno !== 0) throw update.error();
      t.equal(update.results.count, count);
      const all = kernel.try(rows.MAP_LOOKUP_BATCH, { map_fd, count: 2 * count });
      t.equal(all.errno, ENOENT, `${name} ends`);
      t.equal(all.results.count, count);
      t.equal(all.results.values.length, stride * count);
      t.equal(
        Buffer.from(all.results.values).reduce((a, b) => a + b),
        Buffer.from(values).reduce((a, b) => a + b),
      );
      const erase = kernel.try(rows.MAP_DELETE_BATCH, { map_fd, keys: keys.subarray(0, key_size) });
      if (name.includes('ARRAY')) t.ok(erase.errno > 0, 'elements of an array stay');
      else t.match(erase, { errno: 0, results: { count: 1 } });
      if (!name.includes('HASH')) continue;
      const rest = kernel.try(rows.MAP_LOOKUP_AND_DELETE_BATCH, { map_fd, count });
      t.match(rest, { errno: ENOENT, results: { count: count - 1 } });
      t.equal(kernel.try(rows.MAP_GET_NEXT_KEY, { map_fd }).errno, ENOENT);
    }
  });
});
