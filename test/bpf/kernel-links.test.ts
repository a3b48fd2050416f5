import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { type Arguments, enums, insn, iterTargetNamed, rows } from '../../src/bpf/index.js';
import { BtfTypes, functionOffsets } from '../../src/btf/index.js';
import { lockedDown } from '../locked-down.js';
import { until } from '../until.js';
import { LocalKernel, lacks, whyNoKernel } from './kernel.js';

const { call, exit, load, mov, program } = insn;
const { AttachType, CgroupIterOrder, LinkType, MapType, ProgType } = enums;
const VMLINUX = '/sys/kernel/btf/vmlinux';
const skip = whyNoKernel() || (!existsSync(VMLINUX) && `no ${VMLINUX}`);
const EPERM = 1;
const EBUSY = 16;
const ENOENT = 2;
const EOPNOTSUPP = 95;
const ENOTSUPP = 524;

const none = program(mov('r0', 0), exit());
/** bpf_seq_write(ctx->meta->seq, the word `offset` bytes into what `ctx->member` points to, 4). */
const writes = (member: number, offset: number) =>
  program(
    mov('r6', 'r1'),
    load(8, 'r7', 'r6', member),
    insn.jumpIf('eq', 'r7', 0, 'end'),
    insn.alu('add', 'r7', offset),
    load(4, 'r1', 'r7', 0),
    insn.store(4, 'r10', -4, 'r1'),
    load(8, 'r1', 'r6', 0),
    load(8, 'r1', 'r1', 0),
    mov('r2', 'r10'),
    insn.alu('add', 'r2', -4),
    mov('r3', 4),
    call(127),
    insn.label('end'),
    mov('r0', 0),
    exit(),
  );

t.test('links of this machine’s kernel', { skip }, async (t) => {
  const kernel = new LocalKernel();
  t.teardown(() => kernel.close());
  const types = new BtfTypes(readFileSync(VMLINUX));
  const type = (name: string, kind: 'func' | 'struct' | 'typedef' = 'func') => {
    const id = types.find(kind, name);
    if (id === undefined) throw new TypeError(`this kernel has no ${kind} ${name}`);
    return id;
  };
  const offsetOf = (struct: string, member: string) => {
    const found = types.type(type(struct, 'struct'));
    const members = found.kind === 'struct' ? found.members : [];
    return (members.find(({ name }) => name === member)?.offsetBits ?? Number.NaN) / 8;
  };
  const tryTracing = (attach_type: number, name: string, insns = none) =>
    kernel.try(rows.PROG_LOAD, {
      prog_type: ProgType.BPF_PROG_TYPE_TRACING,
      expected_attach_type: attach_type,
      attach_btf_id: type(name),
      insns,
      license: 'GPL',
    });
  const tracing = (attach_type: number, name: string, insns = none) => {
    const loaded = tryTracing(attach_type, name, insns);
    if (loaded.errno !== 0) throw loaded.error();
    return { handle: loaded.handle };
  };
  /** A program of user space's own types: "int f(void)" and the same called main. */
  const someTypes = () => {
    const names = Buffer.from('\0int\0f\0main\0');
    // biome-ignore format: one type a line
    const words = [
      1, 0x01000000, 4, 0x01000020, // 1: int
      0, 0x0d000000, 1, // 2: int (void)
      5, 0x0c000001, 2, // 3: f, a global function of 2
      7, 0x0c000001, 2, // 4: main, likewise
    ];
    const all = Buffer.from(new Uint32Array(words).buffer);
    const header = [0x0001eb9f, 24, 0, all.length, all.length, names.length];
    const head = Buffer.from(new Uint32Array(header).buffer);
    return kernel.call(rows.BTF_LOAD, { btf: Buffer.concat([head, all, names]) });
  };
  const attach_type = AttachType.BPF_TRACE_ITER;
  const readAll = (link_fd: { handle: number }) => {
    const iter = kernel.call(rows.ITER_CREATE, { link_fd });
    const parts: Uint8Array[] = [];
    for (;;) {
      const part = kernel.read(iter, 4096);
      if (part.length === 0) break;
      parts.push(part);
    }
    kernel.forget(iter);
    return new Uint32Array(Uint8Array.from(Buffer.concat(parts)).buffer);
  };

  t.test('an iterator goes over all tasks, or over one', async (t) => {
    const pid = writes(8, offsetOf('task_struct', 'tgid'));
    const prog_fd = tracing(attach_type, 'bpf_iter_task', pid);
    const all = kernel.call(rows.LINK_CREATE_ITER, { prog_fd, attach_type });
    t.ok(readAll(all).includes(process.pid));
    const one = kernel.call(rows.LINK_CREATE_ITER_TASK, {
      prog_fd,
      attach_type,
      iter_info: { tid: process.pid },
    });
    t.same([...readAll(one)], [process.pid]);
    const asked = { bpf_fd: one, info: { target_name_len: 16 } };
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_ITER, asked);
    t.match(info, { type: LinkType.BPF_LINK_TYPE_ITER, target_name: 'task', tid: process.pid });
    const twin = kernel.call(rows.LINK_GET_FD_BY_ID, { link_id: info.id });
    t.equal(kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK, { bpf_fd: twin }).info.id, info.id);
  });

  t.test('an iterator goes over a map’s elements', async (t) => {
    const values = {
      map_type: MapType.BPF_MAP_TYPE_ARRAY,
      key_size: 4,
      value_size: 4,
      max_entries: 3,
    };
    const map = kernel.call(rows.MAP_CREATE, values);
    kernel.maps.created(map.handle, values);
    for (const at of [0, 1, 2])
      kernel.call(rows.MAP_UPDATE_ELEM, {
        map_fd: map,
        key: Uint8Array.of(at, 0, 0, 0),
        value: Uint8Array.of(10 + at, 0, 0, 0),
      });
    // struct bpf_iter__bpf_map_elem: meta, map, key, value
    const loaded = tryTracing(attach_type, 'bpf_iter_bpf_map_elem', writes(24, 0));
    if (loaded.errno === EPERM) {
      t.pass('the program is refused', { skip: lockedDown });
      return;
    }
    if (loaded.errno !== 0) throw loaded.error();
    const prog_fd = { handle: loaded.handle };
    const link = kernel.call(rows.LINK_CREATE_ITER_MAP, {
      prog_fd,
      attach_type,
      iter_info: { map_fd: map },
    });
    t.same([...readAll(link)], [10, 11, 12]);
    const { info: mapInfo } = kernel.call(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: map });
    const asked = { bpf_fd: link, info: { target_name_len: 32 } };
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_ITER, asked);
    t.match(info, { target_name: 'bpf_map_elem', map_id: mapInfo.id });
    const without = kernel.try(rows.LINK_CREATE_ITER, { prog_fd, attach_type });
    t.ok(without.errno > 0, 'without a map there is nothing to go over');
  });

  t.test('an iterator goes over cgroups', async (t) => {
    const prog_fd = tracing(attach_type, 'bpf_iter_cgroup');
    const link = kernel.call(rows.LINK_CREATE_ITER_CGROUP, {
      prog_fd,
      attach_type,
      iter_info: { order: CgroupIterOrder.BPF_CGROUP_ITER_SELF_ONLY, cgroup_id: 1n },
    });
    const asked = { bpf_fd: link, info: { target_name_len: 16 } };
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_ITER, asked);
    t.match(info, { target_name: 'cgroup', cgroup_id: 1n });
    t.equal(info.order, CgroupIterOrder.BPF_CGROUP_ITER_SELF_ONLY);
  });

  t.test('what an iterator goes over follows from its name', async (t) => {
    const named = ['bpf_iter_task_file', 'bpf_iter_sockmap', 'bpf_iter_cgroup', 'bpf_iter_ksym'];
    t.same(named.map(iterTargetNamed), ['task', 'map', 'cgroup', 'other']);
  });

  t.test('functions of the kernel are watched, and hooks of security', async (t) => {
    const cases = [
      [ProgType.BPF_PROG_TYPE_TRACING, AttachType.BPF_TRACE_FENTRY, 'bpf_fentry_test1'],
      [ProgType.BPF_PROG_TYPE_LSM, AttachType.BPF_LSM_MAC, 'bpf_lsm_bpf_map'],
    ] as const;
    for (const [prog_type, attach_type, name] of cases) {
      const loaded = kernel.try(rows.PROG_LOAD, {
        prog_type,
        expected_attach_type: attach_type,
        attach_btf_id: type(name),
        insns: none,
        license: 'GPL',
      });
      if (loaded.errno === EPERM) {
        t.pass(name, { skip: `this kernel does not let ${name} be watched` });
        continue;
      }
      if (loaded.errno !== 0) throw loaded.error();
      const prog_fd = { handle: loaded.handle };
      const link = kernel.try(rows.LINK_CREATE_TRACING, { prog_fd, attach_type, cookie: 77n });
      if (link.errno === ENOTSUPP) {
        t.pass(name, { skip: 'this kernel has no trampolines (try: CONFIG_DYNAMIC_FTRACE)' });
        continue;
      }
      if (link.errno !== 0) throw link.error();
      const asked = { bpf_fd: { handle: link.handle } };
      const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_TRACING, asked);
      t.match(info, { type: LinkType.BPF_LINK_TYPE_TRACING, attach_type });
      t.equal(info.target_btf_id, type(name));
      kernel.forget({ handle: link.handle });
    }
  });

  t.test('a function of a program is replaced', async (t) => {
    const btf = someTypes();
    // main: call f; exit. f: return 5.
    const callF = Uint8Array.of(0x85, 0x10, 0, 0, 1, 0, 0, 0);
    const insns = program(callF, exit(), mov('r0', 5), exit());
    const func_info = new Uint8Array(new Uint32Array([0, 4, 2, 3]).buffer);
    const target = kernel.call(rows.PROG_LOAD, {
      prog_type: ProgType.BPF_PROG_TYPE_XDP,
      insns,
      license: 'GPL',
      prog_btf_fd: btf,
      func_info,
      func_info_rec_size: 8,
    });
    const data_in = new Uint8Array(64);
    const run = () => kernel.call(rows.PROG_TEST_RUN, { prog_fd: target, data_in }).retval;
    t.equal(run(), 5);
    const extension = kernel.try(rows.PROG_LOAD, {
      prog_type: ProgType.BPF_PROG_TYPE_EXT,
      insns: program(mov('r0', 7), exit()),
      license: 'GPL',
      prog_btf_fd: btf,
      func_info: new Uint8Array(new Uint32Array([0, 3]).buffer),
      func_info_rec_size: 8,
      attach_prog_fd: target,
      attach_btf_id: 3,
      log_level: 1,
      log_size: 4096,
    });
    if (extension.errno === EPERM) {
      const skip = 'this kernel lets nobody replace functions (try: boot it with lockdown=none)';
      t.pass('the extension is refused', { skip });
      return;
    }
    if (extension.errno !== 0) throw extension.error();
    const prog_fd = { handle: extension.handle };
    const link = kernel.call(rows.LINK_CREATE_EXT, {
      prog_fd,
      target_fd: target,
      target_btf_id: 4,
    });
    t.equal(run(), 7, 'now the other function is called');
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_TRACING, { bpf_fd: link });
    const targetInfo = kernel.call(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd: target }).info;
    t.match(info, { target_obj_id: targetInfo.id, target_btf_id: 3 });
    kernel.forget(link);
    t.equal(run(), 5);
    const asked = { bpf_fd: target, info: { func_info_rec_size: 8, nr_func_info: 4 } };
    t.same(
      kernel.call(rows.OBJ_GET_INFO_BY_FD_PROG, asked).info.func_info?.slice(4, 8),
      func_info.slice(4, 8),
    );
    kernel.forget(target, prog_fd, btf);
    return undefined;
  });

  t.test('places in programs of user space are watched', async (t) => {
    const multi = AttachType.BPF_TRACE_UPROBE_MULTI;
    const prog_fd = kernel.call(rows.PROG_LOAD, {
      prog_type: ProgType.BPF_PROG_TYPE_KPROBE,
      expected_attach_type: multi,
      insns: none,
      license: 'GPL',
    });
    const words = (...values: bigint[]) => new Uint8Array(new BigUint64Array(values).buffer);
    const path = '/usr/lib/x86_64-linux-gnu/libc.so.6';
    const values = { prog_fd, attach_type: multi, path, offsets: words(0x28000n, 0x28100n) };
    const link = kernel.try(rows.LINK_CREATE_UPROBE_MULTI, {
      ...values,
      cookies: words(7n, 8n),
      pid: process.pid,
    });
    if (link.errno === EOPNOTSUPP)
      return lacks(t, 'links to many uprobes', '6.6 with CONFIG_UPROBES');
    t.equal(link.errno, 0);
    const asked = {
      bpf_fd: { handle: link.handle },
      info: { path_size: 256, count: 4, cookies: true },
    };
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_UPROBE_MULTI, asked);
    t.match(info, { type: LinkType.BPF_LINK_TYPE_UPROBE_MULTI, path, count: 2, pid: process.pid });
    t.same(info.offsets?.subarray(0, 16), values.offsets);
    t.same(info.cookies, words(7n, 8n));
    const missing = { ...values, path: '/no/such/file' };
    t.equal(kernel.try(rows.LINK_CREATE_UPROBE_MULTI, missing).errno, ENOENT);
    kernel.forget({ handle: link.handle });
    return undefined;
  });

  t.test('many functions of the kernel are watched at once, where it can', async (t) => {
    const multi = AttachType.BPF_TRACE_KPROBE_MULTI;
    const prog_fd = kernel.call(rows.PROG_LOAD, {
      prog_type: ProgType.BPF_PROG_TYPE_KPROBE,
      expected_attach_type: multi,
      insns: none,
      license: 'GPL',
    });
    const link = kernel.try(rows.LINK_CREATE_KPROBE_MULTI, {
      prog_fd,
      attach_type: multi,
      syms: ['bpf_fentry_test1'],
    });
    if (link.errno === EOPNOTSUPP)
      return lacks(t, 'links to many kprobes', '5.18 with CONFIG_FPROBE');
    const asked = { bpf_fd: { handle: link.handle }, info: { count: 4 } };
    t.equal(kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_KPROBE_MULTI, asked).info.count, 1);
    return undefined;
  });

  t.test('functions of the kernel are implemented by programs', async (t) => {
    const value = type('bpf_struct_ops_tcp_congestion_ops', 'struct');
    const ops = types.type(type('tcp_congestion_ops', 'struct'));
    if (ops.kind !== 'struct') throw new Error('tcp_congestion_ops is no structure');
    const member = (name: string) => ops.members.findIndex((one) => one.name === name);
    const implement = (name: string, insns = none) =>
      kernel.call(rows.PROG_LOAD, {
        prog_type: ProgType.BPF_PROG_TYPE_STRUCT_OPS,
        attach_btf_id: ops.id,
        expected_attach_type: member(name),
        insns,
        license: 'GPL',
      });
    const link_flag = 1 << 13; // BPF_F_LINK
    const values: Arguments<typeof rows.MAP_CREATE> = {
      map_type: MapType.BPF_MAP_TYPE_STRUCT_OPS,
      key_size: 4,
      value_size: types.sizeOf(value),
      max_entries: 1,
      map_flags: link_flag,
      btf_vmlinux_value_type_id: value,
      btf_fd: someTypes(),
    };
    const data = types.resolve(value);
    const base = data.kind === 'struct' ? (data.members.at(-1)?.offsetBits ?? 0) / 8 : 0;
    const make = (name: string) => {
      const map = kernel.call(rows.MAP_CREATE, values);
      kernel.maps.created(map.handle, values);
      const image = new Uint8Array(types.sizeOf(value));
      const view = new DataView(image.buffer);
      const at = (field: string) => base + (ops.members[member(field)]?.offsetBits ?? 0) / 8;
      view.setUint32(at('ssthresh'), implement('ssthresh').handle, true);
      view.setUint32(at('undo_cwnd'), implement('undo_cwnd').handle, true);
      view.setUint32(at('cong_avoid'), implement('cong_avoid').handle, true);
      image.set(Buffer.from(name), at('name'));
      return { map, image, at };
    };
    const { map, image, at } = make('waep_test');
    const key = new Uint8Array(4);
    const unknown = () => kernel.try(rows.MAP_UPDATE_ELEM, { map_fd: map, key, value: image });
    t.throws(unknown, { code: 'ERR_BPF_UNSUPPORTED', message: /programOffsets/ });
    const programOffsets = functionOffsets(types, value);
    t.ok(programOffsets.includes(at('ssthresh')) && programOffsets.includes(at('cong_avoid')));
    const know = (handle: number) => {
      const spec = kernel.maps.mapSpec(handle);
      if (spec !== undefined) kernel.maps.set(handle, { ...spec, programOffsets });
    };
    know(map.handle);
    kernel.call(rows.MAP_UPDATE_ELEM, { map_fd: map, key, value: image });
    t.equal(kernel.try(rows.MAP_UPDATE_ELEM, { map_fd: map, key, value: image }).errno, EBUSY);
    const link = kernel.call(rows.LINK_CREATE_STRUCT_OPS, {
      map_fd: map,
      attach_type: AttachType.BPF_STRUCT_OPS,
    });
    const available = '/proc/sys/net/ipv4/tcp_available_congestion_control';
    const isThere = () => readFileSync(available, 'utf8').includes('waep_test');
    t.ok(isThere());
    const mapId = kernel.call(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: map }).info.id;
    const shown = () => kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_STRUCT_OPS, { bpf_fd: link }).info;
    t.match(shown(), { type: LinkType.BPF_LINK_TYPE_STRUCT_OPS, map_id: mapId });
    const other = make('waep_test');
    know(other.map.handle);
    kernel.call(rows.MAP_UPDATE_ELEM, { map_fd: other.map, key, value: other.image });
    kernel.call(rows.LINK_UPDATE_STRUCT_OPS, { link_fd: link, new_map_fd: other.map });
    t.not(shown().map_id, mapId);
    kernel.forget(link, map, other.map);
    await until('the end of the congestion control', () => !isThere());
  });
});
