import { execFileSync, spawnSync } from 'node:child_process';
import t from 'tap';
import { enums, insn, rows } from '../../src/bpf/index.js';
import { LocalKernel, whyNoKernel } from './kernel.js';
import { hex, toHex } from './tools.js';

const { alu, call, exit, jumpIf, label, load, loadMap, mov, program, store, storeBytes } = insn;
const { ProgType, MapType, LinkType, Helper } = enums;
const skip = whyNoKernel();
const noBpftool =
  spawnSync('bpftool', ['version']).error && 'no bpftool (try: apt-get install bpftool)';

const nothing = program(mov('r0', 0), exit());
const raw = ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT;
const tracing = { prog_type: raw, insns: nothing, license: 'GPL' };

const array = MapType.BPF_MAP_TYPE_ARRAY;
const oneValue = { map_type: array, key_size: 4, value_size: 8, max_entries: 1 };

t.test('programs of this machine’s kernel', { skip }, async (t) => {
  const kernel = new LocalKernel();
  t.teardown(() => kernel.close());

  t.test('a program that prints at every execve is verified, with a log', async (t) => {
    const insns = program(
      load(8, 'r1', 'r1', 8),
      jumpIf('ne', 'r1', 59, 'out'),
      storeBytes(-16, Buffer.from('Hello World!\n\0'), 'r1'),
      mov('r1', 'r10'),
      alu('add', 'r1', -16),
      mov('r2', 14),
      call(Helper.BPF_FUNC_trace_printk),
      label('out'),
      mov('r0', 0),
      exit(),
    );
    const loaded = kernel.call(rows.PROG_LOAD, {
      ...tracing,
      insns,
      prog_name: 'hello',
      log_level: 1,
      log_size: 65536,
    });
    t.match(loaded.log_buf, /processed \d+ insns/);
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd: loaded });
    t.match(info, { type: raw, name: 'hello', gpl_compatible: true });
  });

  t.test('a rejected program leaves its errno and the verifier’s log', async (t) => {
    const insns = program(exit());
    const failed = kernel.try(rows.PROG_LOAD, { ...tracing, insns, log_level: 1, log_size: 4096 });
    t.match(failed.error(), { code: 'EACCES', command: 'BPF_PROG_LOAD', log: /R0 !read_ok/ });
    const short = kernel.try(rows.PROG_LOAD, { ...tracing, insns, log_level: 1, log_size: 32 });
    t.match(short.error(), { code: 'ENOSPC', log: /^.{20,31}$/s });
  });

  t.test('a map in the instructions is the map behind the handle', async (t) => {
    const map = kernel.call(rows.MAP_CREATE, oneValue);
    kernel.maps.created(map.handle, oneValue);
    const insns = program(
      store(4, 'r10', -4, 0),
      mov('r2', 'r10'),
      alu('add', 'r2', -4),
      loadMap('r1', map),
      call(Helper.BPF_FUNC_map_lookup_elem),
      jumpIf('eq', 'r0', 0, 'out'),
      mov('r1', 42),
      store(8, 'r0', 0, 'r1'),
      label('out'),
      mov('r0', 7),
      exit(),
    );
    const loaded = kernel.call(rows.PROG_LOAD, { ...tracing, insns });
    const run = kernel.call(rows.PROG_TEST_RUN, { prog_fd: loaded });
    t.equal(run.retval, 7);
    const { value } = kernel.call(rows.MAP_LOOKUP_ELEM, { map_fd: map, key: new Uint8Array(4) });
    t.same(value, hex('2a00000000000000'));
    const asked = { bpf_fd: loaded, info: { nr_map_ids: 8, xlated_prog_len: 4096 } };
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_PROG, asked);
    const { info: mapInfo } = kernel.call(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: map });
    t.equal(info.nr_map_ids, 1);
    t.same(info.map_ids, new Uint8Array(new Uint32Array([mapInfo.id]).buffer));
    t.equal(info.xlated_prog_insns?.length, info.xlated_prog_len);
  });

  t.test('descriptors beside the instructions are reached by index', async (t) => {
    const map = kernel.call(rows.MAP_CREATE, oneValue);
    const insns = hex('18510000 01000000 00000000 00000000 b700000000000000 9500000000000000');
    const fd_array = [{ handle: map.handle }, { handle: map.handle }];
    const loaded = kernel.call(rows.PROG_LOAD, { ...tracing, insns, fd_array });
    const asked = { bpf_fd: loaded, info: { nr_map_ids: 8 } };
    t.equal(kernel.call(rows.OBJ_GET_INFO_BY_FD_PROG, asked).info.nr_map_ids, 1);
  });

  t.test('a raw tracepoint is opened, and its link tells its name', async (t) => {
    const loaded = kernel.call(rows.PROG_LOAD, tracing);
    const link = kernel.call(rows.RAW_TRACEPOINT_OPEN, { name: 'sys_enter', prog_fd: loaded });
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK, { bpf_fd: link });
    t.equal(info.type, LinkType.BPF_LINK_TYPE_RAW_TRACEPOINT);
    const asked = { bpf_fd: link, info: { tp_name_len: 64 } };
    const named = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_RAW_TRACEPOINT, asked);
    t.match(named.info, { id: info.id, prog_id: info.prog_id, tp_name: 'sys_enter' });
    const unknown = { name: 'no_such_point', prog_fd: loaded };
    t.match(kernel.try(rows.RAW_TRACEPOINT_OPEN, unknown).error(), { code: 'ENOENT' });
    t.equal(kernel.call(rows.LINK_GET_NEXT_ID, { start_id: info.id - 1 }).next_id, info.id);
  });

  t.test('types are loaded, found by id and read back', async (t) => {
    // One type, "int" of 32 bits, as include/uapi/linux/btf.h lays it out.
    const btf = hex(`
      9feb 01 00 18000000 00000000 10000000 10000000 05000000
      01000000 00000001 04000000 20000000
      00 696e7400`);
    const loaded = kernel.call(rows.BTF_LOAD, { btf });
    const asked = { bpf_fd: loaded, info: { btf_size: 256 } };
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_BTF, asked);
    t.equal(toHex(info.btf ?? new Uint8Array()), toHex(btf));
    t.equal(info.kernel_btf, 0);
    const twin = kernel.call(rows.BTF_GET_FD_BY_ID, { btf_id: info.id });
    t.ok(twin.handle > 0);
    const wrong = { btf: btf.slice(0, 30), btf_log_level: 1, btf_log_size: 1024 };
    t.match(kernel.try(rows.BTF_LOAD, wrong).error(), { command: 'BPF_BTF_LOAD', log: /./ });
  });

  t.test('bpftool sees the same program', { skip: noBpftool ?? false }, async (t) => {
    const loaded = kernel.call(rows.PROG_LOAD, { ...tracing, prog_name: 'seen' });
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd: loaded });
    const text = execFileSync('bpftool', ['-j', 'prog', 'show', 'id', String(info.id)]);
    t.match(JSON.parse(text.toString()), {
      id: info.id,
      name: info.name,
      tag: toHex(info.tag),
      gpl_compatible: info.gpl_compatible,
      bytes_xlated: info.xlated_prog_len,
      bytes_jited: info.jited_prog_len,
    });
  });
});
