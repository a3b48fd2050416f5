import t from 'tap';
import { encode, enums, insn, type MapSpecs, rows } from '../../src/bpf/index.js';
import type { Call } from '../../src/call.js';
import { hex, mapSpec, putWords, replyTo, specs, toHex } from './tools.js';

const map = { handle: 7 } as const;
const prog = { handle: 9 } as const;
const key = hex('01020304');
const { MapType, ObjectFlag, AttachFlag, ElementFlag } = enums;
const POINTER = 0;
const FD32 = 1;

interface Case {
  name: string;
  call: (specs: MapSpecs) => Call;
  map?: Parameters<typeof mapSpec>[0];
  /** Buffers: bytes in, a length out, or one-element lists of bytes in and out. */
  buffers: readonly (string | number | readonly [string])[];
  relocations: readonly (readonly [number, number, number, number])[];
}

const byPlace = (a: readonly number[], b: readonly number[]) =>
  (a[0] ?? 0) - (b[0] ?? 0) || (a[1] ?? 0) - (b[1] ?? 0);

const zeros = (count: number) => '00'.repeat(count);

const cases: Case[] = [
  {
    name: 'a lookup is the attribute, its key and room for a value',
    call: (specs) => encode(rows.MAP_LOOKUP_ELEM, { map_fd: map, key }, specs).call,
    buffers: [`07000000${zeros(28)}`, '01020304', 8],
    relocations: [
      [0, 0, FD32, 7],
      [0, 8, POINTER, 1],
      [0, 16, POINTER, 2],
    ],
  },
  {
    name: 'a per-CPU value is rounded up to 8 bytes for each possible CPU',
    map: { type: MapType.BPF_MAP_TYPE_PERCPU_ARRAY, valueSize: 5 },
    call: (specs) => encode(rows.MAP_LOOKUP_ELEM, { map_fd: map, key }, specs).call,
    buffers: [`07000000${zeros(28)}`, '01020304', 24],
    relocations: [
      [0, 0, FD32, 7],
      [0, 8, POINTER, 1],
      [0, 16, POINTER, 2],
    ],
  },
  {
    name: 'a flag asks for one CPU’s value',
    map: { type: MapType.BPF_MAP_TYPE_PERCPU_HASH, valueSize: 5 },
    call: (specs) =>
      encode(
        rows.MAP_LOOKUP_ELEM,
        { map_fd: map, key, flags: (2n << 32n) | BigInt(ElementFlag.BPF_F_CPU) },
        specs,
      ).call,
    buffers: [`07000000${zeros(20)}0800000002000000`, '01020304', 5],
    relocations: [
      [0, 0, FD32, 7],
      [0, 8, POINTER, 1],
      [0, 16, POINTER, 2],
    ],
  },
  {
    name: 'a map without keys takes NULL',
    map: { type: MapType.BPF_MAP_TYPE_QUEUE, keySize: 0, valueSize: 2 },
    call: (specs) =>
      encode(rows.MAP_UPDATE_ELEM, { map_fd: map, key: null, value: hex('beef') }, specs).call,
    buffers: [`07000000${zeros(28)}`, 'beef'],
    relocations: [
      [0, 0, FD32, 7],
      [0, 16, POINTER, 1],
    ],
  },
  {
    name: 'the first key is asked for by leaving the key out',
    call: (specs) => encode(rows.MAP_GET_NEXT_KEY, { map_fd: map }, specs).call,
    buffers: [`07000000${zeros(20)}`, 4],
    relocations: [
      [0, 0, FD32, 7],
      [0, 16, POINTER, 1],
    ],
  },
  {
    name: 'a program in a program array is a handle in the value',
    map: { type: MapType.BPF_MAP_TYPE_PROG_ARRAY, valueSize: 4 },
    call: (specs) =>
      encode(rows.MAP_UPDATE_ELEM, { map_fd: map, key, value: hex('09000000') }, specs).call,
    buffers: [`07000000${zeros(28)}`, '01020304', '09000000'],
    relocations: [
      [0, 0, FD32, 7],
      [2, 0, FD32, 9],
      [0, 8, POINTER, 1],
      [0, 16, POINTER, 2],
    ],
  },
  {
    name: 'a program behind a device is a handle, and there need be none',
    map: { type: MapType.BPF_MAP_TYPE_DEVMAP, valueSize: 8 },
    call: (specs) =>
      encode(
        rows.MAP_UPDATE_BATCH,
        {
          map_fd: map,
          keys: hex('00000000 01000000 02000000'),
          values: hex('05000000 09000000 05000000 00000000 05000000 ffffffff'),
        },
        specs,
      ).call,
    buffers: [
      [`${zeros(32)}0300000007000000${zeros(16)}`],
      '00000000 01000000 02000000',
      '05000000 09000000 05000000 00000000 05000000 ffffffff',
    ],
    relocations: [
      [0, 36, FD32, 7],
      [2, 4, FD32, 9],
      [0, 16, POINTER, 1],
      [0, 24, POINTER, 2],
    ],
  },
  {
    name: 'a device in four bytes has no program',
    map: { type: MapType.BPF_MAP_TYPE_DEVMAP, valueSize: 4 },
    call: (specs) =>
      encode(rows.MAP_UPDATE_ELEM, { map_fd: map, key, value: hex('05000000') }, specs).call,
    buffers: [`07000000${zeros(28)}`, '01020304', '05000000'],
    relocations: [
      [0, 0, FD32, 7],
      [0, 8, POINTER, 1],
      [0, 16, POINTER, 2],
    ],
  },
  {
    name: 'numbers of 64 bits may be numbers or bigints',
    call: (specs) =>
      encode(rows.MAP_CREATE, { map_type: 1, map_extra: 2 ** 40 + 5, map_name: '' }, specs, 5).call,
    buffers: [`01000000${zeros(60)}0500000000010000`],
    relocations: [],
  },
  {
    name: 'counts follow from the bytes, in batches for every value',
    map: { type: MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, valueSize: 4 },
    call: (specs) =>
      encode(
        rows.MAP_UPDATE_BATCH,
        { map_fd: map, keys: hex('00000000 01000000'), values: hex('05000000 06000000') },
        specs,
      ).call,
    buffers: [[`${zeros(32)}0200000007000000${zeros(16)}`], '0000000001000000', '0500000006000000'],
    relocations: [
      [0, 36, FD32, 7],
      [2, 0, FD32, 5],
      [2, 4, FD32, 6],
      [0, 16, POINTER, 1],
      [0, 24, POINTER, 2],
    ],
  },
  {
    name: 'a batch lookup has a position in and out, of 4 bytes in hash tables',
    map: { keySize: 16 },
    call: (specs) =>
      encode(rows.MAP_LOOKUP_BATCH, { map_fd: map, in_batch: hex('0a000000'), count: 3 }, specs)
        .call,
    buffers: [[`${zeros(32)}0300000007000000${zeros(16)}`], '0a000000', 4, 48, 24],
    relocations: [
      [0, 36, FD32, 7],
      [0, 0, POINTER, 1],
      [0, 8, POINTER, 2],
      [0, 16, POINTER, 3],
      [0, 24, POINTER, 4],
    ],
  },
  {
    name: 'a map is created with no more of the attribute than is used',
    call: (specs) =>
      encode(
        rows.MAP_CREATE,
        { map_type: 1, key_size: 4, value_size: 8, max_entries: 16, map_name: 'counts' },
        specs,
        5,
      ).call,
    buffers: [`01000000040000000800000010000000${zeros(12)}636f756e7473${zeros(30)}`],
    relocations: [],
  },
  {
    name: 'a late field makes the attribute reach as far',
    call: (specs) =>
      encode(
        rows.MAP_CREATE,
        {
          map_type: 1,
          map_flags: ObjectFlag.BPF_F_TOKEN_FD,
          map_token_fd: { handle: 3 },
        },
        specs,
        5,
      ).call,
    buffers: [`01000000${zeros(12)}00000100${zeros(56)}03000000`],
    relocations: [[0, 76, FD32, 3]],
  },
  {
    name: 'a late pointer makes the attribute reach as far as its count',
    call: (specs) =>
      encode(rows.MAP_CREATE, { map_type: 1, excl_prog_hash: hex('aa'.repeat(32)) }, specs, 5).call,
    buffers: [`01000000${zeros(84)}2000000000000000`, 'aa'.repeat(32)],
    relocations: [[0, 80, POINTER, 1]],
  },
  {
    name: 'a program has its log, its licence with a NUL, and the maps in its instructions',
    call: (specs) =>
      encode(
        rows.PROG_LOAD,
        {
          prog_type: 17,
          insns: insn.program(insn.loadMap('r1', map), insn.mov('r0', 0), insn.exit()),
          license: 'GPL',
          log_level: 1,
          log_size: 4096,
        },
        specs,
        5,
      ).call,
    buffers: [
      [`1100000004000000${zeros(16)}0100000000100000${zeros(112)}`],
      '181100000700000000000000 00000000 b700000000000000 9500000000000000',
      '47504c00',
      4096,
    ],
    relocations: [
      [1, 4, FD32, 7],
      [0, 8, POINTER, 1],
      [0, 16, POINTER, 2],
      [0, 32, POINTER, 3],
    ],
  },
  {
    name: 'without a count, only the descriptors that instructions use are relocated',
    call: (specs) =>
      encode(
        rows.PROG_LOAD,
        {
          prog_type: 1,
          // r1 = map_by_idx(1)
          insns: hex('18510000 01000000 00000000 00000000'),
          license: '',
          fd_array: [{ handle: 3 }, { handle: 4 }],
        },
        specs,
        5,
      ).call,
    buffers: [
      [`0100000002000000${zeros(136)}`],
      '18510000010000000000000000000000',
      '00',
      '0300000004000000',
    ],
    relocations: [
      [0, 8, POINTER, 1],
      [0, 16, POINTER, 2],
      [3, 4, FD32, 4],
      [0, 120, POINTER, 3],
    ],
  },
  {
    name: 'without a count, descriptors that no instruction uses stay as they are',
    call: (specs) =>
      encode(
        rows.PROG_LOAD,
        { insns: hex('9500000000000000'), license: '', fd_array: [prog] },
        specs,
        5,
      ).call,
    buffers: [[`0000000001000000${zeros(136)}`], '9500000000000000', '00', '09000000'],
    relocations: [
      [0, 8, POINTER, 1],
      [0, 16, POINTER, 2],
      [0, 120, POINTER, 3],
    ],
  },
  {
    name: 'with a count, all descriptors are relocated',
    call: (specs) =>
      encode(
        rows.PROG_LOAD,
        { insns: hex('9500000000000000'), license: '', fd_array: [prog], fd_array_cnt: 1 },
        specs,
        5,
      ).call,
    buffers: [[`0000000001000000${zeros(140)}01000000`], '9500000000000000', '00', '09000000'],
    relocations: [
      [0, 8, POINTER, 1],
      [0, 16, POINTER, 2],
      [3, 0, FD32, 9],
      [0, 120, POINTER, 3],
    ],
  },
  {
    name: 'two names of one word are one descriptor',
    call: (specs) =>
      encode(
        rows.PROG_LOAD,
        { insns: hex('9500000000000000'), license: null, attach_btf_obj_fd: { handle: 8 } },
        specs,
        5,
      ).call,
    buffers: [[`0000000001000000${zeros(104)}08000000${zeros(28)}`], '9500000000000000'],
    relocations: [
      [0, 112, FD32, 8],
      [0, 8, POINTER, 1],
    ],
  },
  {
    name: 'a tracepoint has a name and a program',
    call: (specs) =>
      encode(rows.RAW_TRACEPOINT_OPEN, { name: 'sys_enter', prog_fd: prog }, specs, 5).call,
    buffers: [`${zeros(8)}0900000000000000`, '7379735f656e74657200'],
    relocations: [
      [0, 8, FD32, 9],
      [0, 0, POINTER, 1],
    ],
  },
  {
    name: 'a structure behind a pointer has pointers of its own',
    call: (specs) =>
      encode(rows.OBJ_GET_INFO_BY_FD_BTF, { bpf_fd: prog, info: { btf_size: 100 } }, specs).call,
    buffers: [[`0900000020000000${zeros(8)}`], [`${zeros(8)}64000000${zeros(20)}`], 100],
    relocations: [
      [0, 0, FD32, 9],
      [1, 0, POINTER, 2],
      [0, 8, POINTER, 1],
    ],
  },
  {
    name: 'texts share a buffer, and their pointers have offsets into it',
    call: (specs) =>
      encode(
        rows.LINK_CREATE_KPROBE_MULTI,
        { prog_fd: prog, attach_type: 42, syms: ['vfs_read', 'ksys_*', 'x'] },
        specs,
        5,
      ).call,
    buffers: [
      `09000000000000002a00000000000000 00000000 03000000 ${zeros(8)}`,
      `${zeros(8)}0900000000000000 1000000000000000`,
      '7666735f7265616400 6b7379735f2a00 7800',
    ],
    relocations: [
      [0, 0, FD32, 9],
      [1, 0, POINTER, 2],
      [1, 8, POINTER, 2],
      [1, 16, POINTER, 2],
      [0, 24, POINTER, 1],
    ],
  },
  {
    name: 'descriptors sit in structures behind pointers too',
    call: (specs) =>
      encode(
        rows.LINK_CREATE_ITER_MAP,
        { prog_fd: prog, attach_type: 28, iter_info: { map_fd: map } },
        specs,
        5,
      ).call,
    buffers: [`09000000000000001c000000${zeros(12)}0800000000000000`, '0700000000000000'],
    relocations: [
      [0, 0, FD32, 9],
      [1, 0, FD32, 7],
      [0, 16, POINTER, 1],
    ],
  },
  {
    name: 'what may go in and come back is NULL when it is left out',
    call: (specs) =>
      encode(rows.PROG_TEST_RUN, { prog_fd: prog, data_in: hex('ff'), data_size_out: 2 }, specs)
        .call,
    buffers: [[`0900000000000000 0100000002000000 ${zeros(48)}`], 'ff', 2],
    relocations: [
      [0, 0, FD32, 9],
      [0, 16, POINTER, 1],
      [0, 24, POINTER, 2],
    ],
  },
  {
    name: 'an id in the place of a descriptor stays a number',
    call: (specs) =>
      encode(
        rows.LINK_CREATE_TCX,
        {
          prog_fd: prog,
          target_ifindex: 2,
          attach_type: 46,
          flags: AttachFlag.BPF_F_ID | AttachFlag.BPF_F_AFTER,
          relative_id: 77,
        },
        specs,
        5,
      ).call,
    buffers: ['09000000 02000000 2e000000 30000000 4d000000 00000000'],
    relocations: [[0, 0, FD32, 9]],
  },
];

for (const one of cases) {
  t.test(one.name, async (t) => {
    const call = one.call(specs(mapSpec(one.map)));
    const shown = call.buffers.map((buffer) => {
      if (typeof buffer === 'number') return buffer;
      return buffer instanceof Uint8Array ? toHex(buffer) : [toHex(buffer.inout)];
    });
    const plain = (text: string) => text.replace(/\s/g, '');
    const expected = one.buffers.map((buffer) => {
      if (typeof buffer === 'number') return buffer;
      return typeof buffer === 'string' ? plain(buffer) : [plain(buffer[0])];
    });
    t.same(shown, expected, 'buffers');
    const relocations = one.relocations.map((_, at) => call.relocations.slice(4 * at, 4 * at + 4));
    t.same(relocations.sort(byPlace), [...one.relocations].sort(byPlace), 'relocations');
    t.equal(call.relocations.length, 4 * one.relocations.length);
    t.equal(call.args, 1);
  });
}

t.test('the result handle and the command number are the call’s', async (t) => {
  const { call } = encode(rows.MAP_GET_FD_BY_ID, { map_id: 3 }, specs(), 12);
  t.equal(call.result, 12);
  t.equal(call.command, 14);
});

t.test('large instructions are not copied', async (t) => {
  const insns = new Uint8Array(8 * 1000).fill(0x95);
  const { call } = encode(rows.PROG_LOAD, { insns, license: 'GPL' }, specs(), 1);
  t.equal(call.buffers[1], insns);
});

t.test('common attributes are a second argument', async (t) => {
  const values = { map_type: 1, key_size: 4, value_size: 8, max_entries: 16 };
  const common = { log_level: 1, log_size: 64 };
  const encoded = encode(rows.MAP_CREATE, values, specs(), 5, common);
  const command = enums.Cmd.BPF_MAP_CREATE | enums.CallFlag.BPF_COMMON_ATTRS;
  t.match(encoded.call, { command, args: 2, result: 5 });
  const [attribute, second, log] = encoded.call.buffers;
  t.same(attribute, encode(rows.MAP_CREATE, values, specs()).call.buffers[0]);
  t.same(second, { inout: hex(`${zeros(8)} 40000000 01000000 ${zeros(8)}`) });
  t.equal(log, 64);
  t.same(encoded.call.relocations, [1, 0, POINTER, 2]);
  const reply = replyTo(
    encoded,
    ([second, log]) => {
      putWords(second, 16, 4);
      log?.set(Buffer.from('bad\0'));
    },
    -1,
    22,
  );
  t.same(encoded.decodeCommon(reply), { log_true_size: 4, log_buf: 'bad' });
  t.match(encoded.error(reply), { code: 'EINVAL', command: 'BPF_MAP_CREATE', log: 'bad' });
  t.throws(() => encode(rows.MAP_CREATE, values, specs(), 5, { log_level: -1 }), {
    code: 'ERR_BPF_FIELD',
    message: /^BPF_MAP_CREATE common attributes: field log_level is -1;/,
  });
  const without = encode(rows.MAP_CREATE, values, specs(), 5);
  t.match(without.call, { command: enums.Cmd.BPF_MAP_CREATE, args: 1 });
  t.equal(without.decodeCommon(replyTo(without, () => {})), undefined);
});
