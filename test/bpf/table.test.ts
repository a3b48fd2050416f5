import t from 'tap';
import { compiledOf, fieldBytes } from '../../src/bpf/compile.js';
import { commands, enums, rows, shapeOf } from '../../src/bpf/index.js';
import * as infos from '../../src/bpf/infos.js';
import type { Struct } from '../../src/bpf/rows.js';
import { mapSpec } from './tools.js';

const structs: readonly Struct[] = [...commands, ...Object.values(infos)];

t.test('every row can be compiled: the names it refers to exist', async (t) => {
  for (const row of structs) t.doesNotThrow(() => compiledOf(row), row.name);
});

t.test('a row names the type that it is of in the kernel’s header, and the member', async (t) => {
  t.same(rows.MAP_CREATE.c, ['union bpf_attr', '']);
  t.same(rows.LINK_CREATE_XDP.c, ['union bpf_attr', 'link_create']);
  t.match(infos.PROG_INFO, { name: 'bpf_prog_info', c: ['struct bpf_prog_info', ''] });
});

t.test('a row that refers to a field it does not have cannot be compiled', async (t) => {
  const row: Struct = {
    name: 'BROKEN',
    c: ['union bpf_attr', ''],
    fields: {
      data: {
        type: 'buffer',
        flow: 'in',
        offset: 0,
        nullable: false,
        length: { by: 'field', field: 'size', times: 1 },
      },
    },
  };
  t.throws(() => compiledOf(row), { message: 'BROKEN has no field size' });
});

t.test('fields lie apart, but for names of the same word', async (t) => {
  for (const row of structs) {
    const places = Object.entries(row.fields).map(([name, field]) => ({
      name,
      start: field.offset,
      end: field.offset + fieldBytes(field),
    }));
    for (const one of places) {
      const overlaps = places.filter(
        (other) =>
          other.start < one.end &&
          one.start < other.end &&
          (other.start !== one.start || other.end !== one.end),
      );
      // The members of struct bpf_link_info's iterator unions share their places.
      const known = row.name === 'bpf_link_info' && 'target_name' in row.fields;
      if (!known) t.same(overlaps, [], `${row.name}.${one.name}`);
    }
  }
});

t.test(
  'a command number has one name, one kind of result, and at most one default shape',
  async (t) => {
    for (const { command } of commands) {
      const shapes = commands.filter((row) => row.command === command);
      t.equal(new Set(shapes.map((row) => row.name)).size, 1);
      t.equal(new Set(shapes.map((row) => row.returns)).size, 1);
      t.ok(shapes.filter((row) => row.when === undefined).length <= 1);
    }
  },
);

t.test('the shape of a call is found by what the call says', async (t) => {
  const maps = { 1: mapSpec(), 2: mapSpec({ type: enums.MapType.BPF_MAP_TYPE_BLOOM_FILTER }) };
  const kinds = { 1: 'map', 2: 'map', 3: 'prog', 4: 'link', 5: 'link', 6: 'perf_event' } as const;
  const specs = {
    possibleCpus: 1,
    mapSpec: (handle: number) => maps[handle as keyof typeof maps],
    kindOf: (handle: number) => kinds[handle as keyof typeof kinds],
    linkTypeOf: (handle: number) =>
      handle === 4 ? enums.LinkType.BPF_LINK_TYPE_KPROBE_MULTI : undefined,
  };
  const found = (command: number, ...words: number[]) => {
    const image = new Uint8Array(new Uint32Array(words).buffer);
    return shapeOf(command, image, (fd) => fd, specs);
  };
  const { Cmd, AttachType } = enums;
  const info = Cmd.BPF_OBJ_GET_INFO_BY_FD;
  const cases = [
    ['a lookup', Cmd.BPF_MAP_LOOKUP_ELEM, [1], ['value', { flow: 'out' }]],
    ['a lookup in a bloom filter', Cmd.BPF_MAP_LOOKUP_ELEM, [2], ['value', { flow: 'in' }]],
    ['info of a map', info, [1], ['info', { struct: { name: 'bpf_map_info' } }]],
    ['info of a program', info, [3], ['info', { struct: { name: 'bpf_prog_info' } }]],
    ['info of a link', info, [4], ['info', { struct: { fields: { addrs: {} } } }]],
    ['info of something without', info, [6], ['info', { type: 'buffer' }]],
    ['info of any link', info, [5], ['info', { struct: { fields: { prog_id: {} } } }]],
    [
      'a link to many probes',
      Cmd.BPF_LINK_CREATE,
      [3, 0, AttachType.BPF_TRACE_KPROBE_MULTI],
      ['syms', { type: 'strings' }],
    ],
  ] as const;
  for (const [name, command, words, [field, expected]] of cases) {
    t.match(found(command, ...words).fields[field], expected, name);
  }
  t.throws(() => found(999, 0), { code: 'ERR_BPF_UNKNOWN_COMMAND', message: /bpf command 999 / });
  const unknownShapes = [
    ['a link of an unknown kind', Cmd.BPF_LINK_CREATE, [3, 0, 0xffff]],
    ['a link to an iterator over who knows what', Cmd.BPF_LINK_CREATE, [3, 0, 28, 0, 8, 0, 16]],
    ['info of nothing known', info, [77]],
  ] as const;
  for (const [name, command, words] of unknownShapes) {
    t.throws(() => found(command, ...words), { code: 'ERR_BPF_UNKNOWN_COMMAND' }, name);
  }
});
