import t from 'tap';
import { type Arguments, type Command, encode, enums, rows } from '../../src/bpf/index.js';
import { hex, mapSpec, specs } from './tools.js';

/** Encodes what the compiler would not let pass. */
function wrong(row: Command, values: object, map = mapSpec()): unknown {
  return encode(row, values as Arguments<Command>, specs(map));
}

const map = { handle: 7 };
const key = hex('01020304');
const exit = hex('9500000000000000');
const { MapType } = enums;

const misfits = [
  ['a number that is none', rows.MAP_CREATE, { map_type: '1' }, 'map_type', /0 to 4294967295/],
  ['a number with a fraction', rows.MAP_CREATE, { map_type: 1.5 }, 'map_type', /integer/],
  ['a negative number', rows.MAP_CREATE, { max_entries: -1 }, 'max_entries', /is -1;/],
  ['a number beyond 32 bits', rows.MAP_CREATE, { max_entries: 2 ** 32 }, 'max_entries', /integer/],
  ['a signed number beyond 31 bits', rows.PROG_LOAD, { keyring_id: 2 ** 31 }, 'keyring_id', /-214/],
  ['a bigint beyond 64 bits', rows.MAP_CREATE, { map_extra: 2n ** 64n }, 'map_extra', /2\^64/],
  ['an unsafe integer', rows.MAP_CREATE, { map_extra: 2 ** 60 }, 'map_extra', /safe integer/],
  [
    'a field that is not there',
    rows.MAP_FREEZE,
    { map_fd: map, flags: 0 },
    'flags',
    /no such field; there are map_fd/,
  ],
  [
    'a field that only comes back',
    rows.PROG_LOAD,
    { log_true_size: 1 },
    'log_true_size',
    /no such field/,
  ],
  [
    'a long name',
    rows.MAP_CREATE,
    { map_name: 'sixteen letters!' },
    'map_name',
    /at most 15 bytes/,
  ],
  ['a name with a NUL', rows.MAP_CREATE, { map_name: 'a\0b' }, 'map_name', /without NUL/],
  ['a descriptor that is a number', rows.MAP_FREEZE, { map_fd: 7 }, 'map_fd', /handle of a map/],
  ['handle 0', rows.MAP_FREEZE, { map_fd: { handle: 0 } }, 'map_fd', /handle of a map/],
  ['a handle with a fraction', rows.MAP_FREEZE, { map_fd: { handle: 1.5 } }, 'map_fd', /of a map/],
  ['a negative handle', rows.MAP_FREEZE, { map_fd: { handle: -1 } }, 'map_fd', /handle of a map/],
  ['a handle that is text', rows.MAP_FREEZE, { map_fd: { handle: '7' } }, 'map_fd', /of a map/],
  ['a descriptor that is null', rows.MAP_FREEZE, { map_fd: null }, 'map_fd', /handle of a map/],
  [
    'a descriptor of several kinds',
    rows.LINK_CREATE_TCX,
    { prog_fd: map, relative_fd: {} },
    'relative_fd',
    /handle of a prog or link\./,
  ],
  ['a negative bigint', rows.MAP_CREATE, { map_extra: -1n }, 'map_extra', /0 to 2\^64 - 1/],
  ['a negative number of 64 bits', rows.MAP_CREATE, { map_extra: -1 }, 'map_extra', /safe integer/],
  ['a name that is a number', rows.MAP_CREATE, { map_name: 1 }, 'map_name', /at most 15 bytes/],
  [
    'a licence that is a number',
    rows.PROG_LOAD,
    { insns: exit, license: 3 },
    'license',
    /expected a string\./,
  ],
  [
    'symbols that are text',
    rows.LINK_CREATE_KPROBE_MULTI,
    { prog_fd: map, syms: 'a' },
    'syms',
    /expected an array of strings\./,
  ],
  [
    'descriptors that are one',
    rows.PROG_LOAD,
    { insns: exit, license: '', fd_array: map },
    'fd_array',
    /expected an array of objects with a handle\./,
  ],
  [
    'a descriptor in an array that is no map or BTF',
    rows.PROG_LOAD,
    { insns: exit, license: '', fd_array: [map, 1] },
    'fd_array[1]',
    /handle of a map or btf\./,
  ],
  [
    'bytes that the kernel writes',
    rows.MAP_LOOKUP_ELEM,
    { map_fd: map, key, value: new Uint8Array(8) },
    'value',
    /no such field; there are map_fd, key, flags\./,
  ],
  [
    'a descriptor that is missing',
    rows.MAP_FREEZE,
    {},
    'map_fd',
    /is undefined; expected the handle of a map/,
  ],
  [
    'a descriptor without its flag',
    rows.MAP_CREATE,
    { map_token_fd: map },
    'map_token_fd',
    /unless map_flags/,
  ],
  ['a key that is missing', rows.MAP_LOOKUP_ELEM, { map_fd: map }, 'key', /a Uint8Array/],
  [
    'a key that is too short',
    rows.MAP_LOOKUP_ELEM,
    { map_fd: map, key: hex('01') },
    'key',
    /is "1 bytes"; expected 4 bytes/,
  ],
  [
    'a value that is too long',
    rows.MAP_UPDATE_ELEM,
    { map_fd: map, key, value: new Uint8Array(9) },
    'value',
    /expected 8 bytes/,
  ],
  ['a key that is text', rows.MAP_LOOKUP_ELEM, { map_fd: map, key: 'abcd' }, 'key', /a Uint8Array/],
  [
    'a map that nothing is known of',
    rows.MAP_LOOKUP_ELEM,
    { map_fd: { handle: 100 }, key },
    'map_fd',
    /ask for its info/,
  ],
  [
    'half an instruction',
    rows.PROG_LOAD,
    { insns: hex('95000000'), license: '' },
    'insns',
    /a multiple of 8 bytes/,
  ],
  [
    'a count that differs',
    rows.PROG_LOAD,
    { insns: exit, insn_cnt: 2, license: '' },
    'insn_cnt',
    /is 2; expected 1, as insns/,
  ],
  [
    'instructions with handle 0',
    rows.PROG_LOAD,
    { insns: hex('1811000000000000 0000000000000000'), license: '' },
    'the immediate of instruction 0',
    /handle of a map/,
  ],
  [
    'records of no size',
    rows.PROG_LOAD,
    { insns: exit, license: '', func_info: exit },
    'func_info',
    /multiple of 0/,
  ],
  [
    'a licence that is too long',
    rows.PROG_LOAD,
    { insns: exit, license: 'x'.repeat(128) },
    'license',
    /at most 127 bytes/,
  ],
  [
    'descriptors that are numbers',
    rows.PROG_LOAD,
    { insns: exit, license: '', fd_array: [1] },
    'fd_array[0]',
    /handle/,
  ],
  [
    'a count of descriptors that differs',
    rows.PROG_LOAD,
    { insns: exit, license: '', fd_array: [map], fd_array_cnt: 2 },
    'fd_array_cnt',
    /expected 1/,
  ],
  [
    'a symbol that is a number',
    rows.LINK_CREATE_KPROBE_MULTI,
    { prog_fd: map, syms: ['a', 1] },
    'syms[1]',
    /text/,
  ],
  [
    'a structure that is a number',
    rows.OBJ_GET_INFO_BY_FD_MAP,
    { bpf_fd: map, info: 3 },
    'info',
    /an object/,
  ],
  [
    'a wish that is no boolean',
    rows.OBJ_GET_INFO_BY_FD_LINK_KPROBE_MULTI,
    { bpf_fd: map, info: { cookies: 1 } },
    'cookies',
    /a boolean/,
  ],
] as const;

for (const [name, row, values, field, message] of misfits) {
  t.test(`${name} is refused with the field, its value and what was expected`, async (t) => {
    t.throws(() => wrong(row, values), {
      code: 'ERR_BPF_FIELD',
      message,
      detail: { field },
    });
    t.throws(() => wrong(row, values), { message: new RegExp(`^${row.name}`) });
  });
}

t.test('text may be as long as the kernel reads, with its NUL', async (t) => {
  t.doesNotThrow(() => wrong(rows.PROG_LOAD, { insns: exit, license: 'x'.repeat(127) }));
  t.doesNotThrow(() => wrong(rows.MAP_CREATE, { map_name: 'fifteen letters' }));
});

t.test('what a map’s value or key is the handle of', async (t) => {
  const values: Readonly<Record<string, string>> = {
    BPF_MAP_TYPE_PROG_ARRAY: 'prog',
    BPF_MAP_TYPE_PERF_EVENT_ARRAY: 'perf_event',
    BPF_MAP_TYPE_CGROUP_ARRAY: 'cgroup',
    BPF_MAP_TYPE_ARRAY_OF_MAPS: 'map',
    BPF_MAP_TYPE_HASH_OF_MAPS: 'map',
  };
  const keys: Readonly<Record<string, string>> = {
    BPF_MAP_TYPE_INODE_STORAGE: 'file',
    BPF_MAP_TYPE_TASK_STORAGE: 'pidfd',
    BPF_MAP_TYPE_CGRP_STORAGE: 'cgroup',
  };
  const refused = (type: string, part: 'key' | 'value', kind: string) => {
    const changes = { type: MapType[type as keyof typeof MapType], keySize: 4, valueSize: 4 };
    const zero = new Uint8Array(4);
    t.throws(
      () => wrong(rows.MAP_UPDATE_ELEM, { map_fd: map, key: zero, value: zero }, mapSpec(changes)),
      { detail: { field: `the map ${part}` }, message: new RegExp(`the handle of a ${kind}\\.`) },
      type,
    );
  };
  for (const [type, kind] of Object.entries(values)) refused(type, 'value', kind);
  for (const [type, kind] of Object.entries(keys)) refused(type, 'key', kind);
});

const value = new Uint8Array(4);
const stays = [
  ['sockets in values', { type: MapType.BPF_MAP_TYPE_SOCKMAP, valueSize: 4 }, /holds sockets/],
  ['XDP sockets', { type: MapType.BPF_MAP_TYPE_XSKMAP, valueSize: 4 }, /holds sockets/],
  ['sockets in keys', { type: MapType.BPF_MAP_TYPE_SK_STORAGE, valueSize: 4 }, /a key of this map/],
  [
    'struct_ops',
    { type: MapType.BPF_MAP_TYPE_STRUCT_OPS, valueSize: 4 },
    /a value of this map cannot be forwarded: where its value holds programs .* programOffsets/,
  ],
  ['sockets of a hash', { type: MapType.BPF_MAP_TYPE_SOCKHASH, valueSize: 4 }, /bpf_sock_map_upd/],
] as const;

for (const [name, changes, message] of stays) {
  t.test(`${name} are refused: they cannot travel`, async (t) => {
    const values = { map_fd: map, key, value };
    t.throws(() => wrong(rows.MAP_UPDATE_ELEM, values, mapSpec(changes)), {
      code: 'ERR_BPF_UNSUPPORTED',
      message,
    });
  });
}
