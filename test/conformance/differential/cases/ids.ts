/* Cases about objects by their ids and paths, and about their infos. */
import { type Case, type Layout, NOWHERE, type Place } from '../script.js';
import { Cmd, MapType, ProgType } from '../uapi.js';
import type { World } from '../world.js';
import { btf, btfType, integer, integers, pair } from './btf.js';
import { type Add, collect, lengths, withWord } from './collect.js';
import {
  ask,
  code,
  hash,
  idOf,
  map,
  op,
  pattern,
  prog,
  progAttribute,
  returns,
  volatileInfo,
} from './objects.js';

const { OBJ_PIN, OBJ_GET, OBJ_GET_INFO_BY_FD, BTF_LOAD } = Cmd;
const NO_DESCRIPTOR = 899;
const FOLDER = '/sys/fs/bpf/diff';

function types(c: Case, bytes = integers): number {
  return c.bpf(BTF_LOAD, { 0: c.put(bytes), 16: bytes.length }).fd;
}

function link(c: Case): number {
  const attribute = { 0: c.put('sys_enter'), 8: prog(c, ProgType.RAW_TRACEPOINT) };
  return c.bpf(Cmd.RAW_TRACEPOINT_OPEN, attribute).fd;
}

/** A kind of object, and the commands that find it. */
const objects = [
  {
    kind: 'prog',
    make: (c: Case) => prog(c),
    next: Cmd.PROG_GET_NEXT_ID,
    open: Cmd.PROG_GET_FD_BY_ID,
  },
  {
    kind: 'map',
    make: (c: Case) => hash(c),
    next: Cmd.MAP_GET_NEXT_ID,
    open: Cmd.MAP_GET_FD_BY_ID,
  },
  {
    kind: 'btf',
    make: (c: Case) => types(c),
    next: Cmd.BTF_GET_NEXT_ID,
    open: Cmd.BTF_GET_FD_BY_ID,
  },
  { kind: 'link', make: link, next: Cmd.LINK_GET_NEXT_ID, open: Cmd.LINK_GET_FD_BY_ID },
] as const;

/** Declares the volatile bytes of an info, as far as the info reaches. */
function masked(c: Case, kind: keyof typeof volatileInfo, info: Place): void {
  for (const [name, offset, length] of volatileInfo[kind]) {
    if (offset + length <= info.sizeBytes) c.differs(name, info, offset, length);
  }
}

function byId(add: Add): void {
  for (const { kind, make, next, open } of objects) {
    add(next, 'the next of two, and none behind them', (c) => {
      const [first, second] = [make(c), make(c)];
      const [one, other] = [idOf(c, first, kind), idOf(c, second, kind)];
      const { attribute } = withWord(c, next, { 4: 0xeeee_eeee, 8: 0 }, one, 0);
      c.differs('id', attribute, 4);
      c.same(attribute, 4, other, 0);
      const { attribute: last } = withWord(c, next, { 4: 0xeeee_eeee, 8: 0 }, other, 0);
      c.differs('id', last, 4);
    });
    add(next, 'ids that none has', (c) => {
      for (const id of [0x7fff_fff0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff])
        c.bpf(next, { 0: id, 8: 0 });
      c.bpf(next, { 0: 0x7fff_ffff, 8: 8 });
      c.bpf(next, { 0: 0x7fff_ffff, 12: 1 });
    });
    add(next, 'the first, by an attribute of any length', (c) => {
      make(c);
      for (const sizeBytes of [0, 3, 4, 8, 12]) {
        const { attribute } = c.bpf(next, { 0: 0, 4: 0, 8: 0 }, { sizeBytes });
        c.differs('id', attribute, 4);
      }
    });
    add(open, 'an object that is open, and that is gone', (c) => {
      const fd = make(c);
      const id = idOf(c, fd, kind);
      const { fd: twin } = withWord(c, open, { 8: 0 }, id, 0);
      masked(c, kind, ask(c, twin, 16).info);
      c.close(fd);
      withWord(c, open, { 8: 0 }, id, 0);
    });
    add(open, 'flags', (c) => {
      const id = idOf(c, make(c), kind);
      for (const flags of [8, 16, 24, 1, 1 << 16]) withWord(c, open, { 8: flags }, id, 0);
      withWord(c, open, { 8: 0, 12: 77 }, id, 0);
      withWord(c, open, { 8: 1 << 16, 12: NO_DESCRIPTOR }, id, 0);
      withWord(c, open, { 16: 1 }, id, 0);
    });
    add(open, 'ids that none has', (c) => {
      for (const id of [0, 0x7fff_fff0, 0xffff_ffff]) c.bpf(open, { 0: id });
    });
    for (const sizeBytes of lengths.filter((length) => length < 64)) {
      add(open, `an attribute of ${sizeBytes} bytes`, (c) =>
        c.bpf(open, { 0: 0x7fff_fff0 }, { sizeBytes }),
      );
    }
  }
}

function about(add: Add, world: World): void {
  for (const { kind, make } of objects) {
    for (const sizeBytes of [0, 1, 4, 8, 16, 32, 40, 64, 80, 96, 104, 208, 228, 232, 300]) {
      add(OBJ_GET_INFO_BY_FD, `a ${kind}: info of ${sizeBytes} bytes`, (c) => {
        masked(c, kind, ask(c, make(c), sizeBytes).info);
      });
    }
    add(OBJ_GET_INFO_BY_FD, `a ${kind}: something behind the info`, (c) => {
      ask(c, make(c), 300, { 299: Uint8Array.of(1) });
    });
    add(OBJ_GET_INFO_BY_FD, `a ${kind}: info that is not there`, (c) => {
      const fd = make(c);
      c.bpf(OBJ_GET_INFO_BY_FD, { 0: fd, 4: 64, 8: NOWHERE });
      c.bpf(OBJ_GET_INFO_BY_FD, { 0: fd, 4: 64, 8: 0n });
      const half = c.room(30);
      masked(c, kind, half);
      c.bpf(OBJ_GET_INFO_BY_FD, { 0: fd, 4: 64, 8: half });
      c.bpf(OBJ_GET_INFO_BY_FD, { 0: fd, 4: 64, 8: c.put(new Uint8Array(64), 1) });
      c.bpf(OBJ_GET_INFO_BY_FD, { 0: fd, 4: 70_000, 8: c.put(new Uint8Array(64)) });
    });
  }
  for (const [name, fd] of [
    ['a descriptor that is not open', () => NO_DESCRIPTOR],
    ['descriptor −1', () => -1],
    ['a file', (c: Case) => c.open('/proc/version')],
  ] as const) {
    add(OBJ_GET_INFO_BY_FD, name, (c) => ask(c, fd(c), 64));
  }
  programs(add);
  add(OBJ_GET_INFO_BY_FD, 'a btf: its bytes', (c) => {
    const fd = types(c, pair);
    for (const room of [pair.length, 10, 4096]) {
      const bytes = c.room(room);
      const { info } = ask(c, fd, 32, { 0: bytes, 8: room });
      c.differs('id', info, 12);
    }
    c.differs('id', ask(c, fd, 32, { 0: NOWHERE, 8: 64 }).info, 12);
  });
  add(OBJ_GET_INFO_BY_FD, 'a btf: its name, of which it has none', (c) => {
    const fd = types(c, pair);
    for (const room of [64, 1, 0]) {
      c.differs('id', ask(c, fd, 32, { 16: c.room(64), 24: room }).info, 12);
    }
    c.differs('id', ask(c, fd, 32, { 24: 64 }).info, 12);
  });
  add(OBJ_GET_INFO_BY_FD, 'a btf: the kernel’s own, and its name', (c) => {
    const { fd } = c.bpf(Cmd.BTF_GET_FD_BY_ID, { 0: 1 });
    for (const room of [64, 8, 4, 1]) ask(c, fd, 32, { 16: c.room(64), 24: room });
  });
  add(OBJ_GET_INFO_BY_FD, 'a link: the name of its tracepoint', (c) => {
    const fd = link(c);
    for (const room of [64, 10, 9, 4, 1, 0]) {
      const { info } = ask(c, fd, 32, { 16: room === 0 ? 0n : c.room(64), 24: room });
      masked(c, 'link', info);
    }
    for (const layout of [
      { 16: 0n, 24: 64 },
      { 16: NOWHERE, 24: 64 },
    ]) {
      const { info } = ask(c, fd, 32, layout);
      masked(c, 'link', info);
    }
  });
  add(OBJ_GET_INFO_BY_FD, 'a link: a tracing program’s', (c) => {
    const more = { 68: 24, 108: world.typeId('func', 'vfs_read') };
    const program = prog(c, ProgType.TRACING, returns(0), more);
    const { fd } = c.bpf(Cmd.RAW_TRACEPOINT_OPEN, { 0: 0n, 8: program });
    const { info } = ask(c, fd, 32);
    masked(c, 'link', info);
    c.differs('BTF id', info, 20);
  });
}

/** Cases about the lists that a program's info points to. */
function programs(add: Add): void {
  const lists: readonly (readonly [name: string, count: number, pointer: number, each: number])[] =
    [
      ['jited code', 16, 24, 1],
      ['instructions', 20, 32, 8],
      ['maps', 52, 56, 4],
      ['symbols', 104, 112, 8],
      ['lengths', 108, 120, 4],
      ['functions', 144, 136, 8],
      ['lines', 148, 152, 16],
      ['jited lines', 168, 160, 8],
      ['tags', 180, 184, 8],
    ];
  const loads = (c: Case) => {
    const array = map(c, { type: MapType.ARRAY });
    const instructions = code(op.load64(1, 2, array), op.load32(0, 1, 0), op.exit());
    return prog(c, ProgType.SOCKET_FILTER, instructions);
  };
  for (const [name, count, pointer, each] of lists) {
    add(OBJ_GET_INFO_BY_FD, `a prog: its ${name}`, (c) => {
      const fd = loads(c);
      for (const room of [1000, 1, 0]) {
        const list = c.room(Math.max(1, room * each));
        const given: Record<number, number | bigint | typeof list> = {
          [count]: room,
          [pointer]: list,
        };
        if (each === 8 && pointer !== 32 && pointer !== 112) Object.assign(given, { 132: 8 });
        const { info } = ask(c, fd, 208, given);
        masked(c, 'prog', info);
        // These are code and addresses of the kernel, and ids of the objects in instructions.
        if (name !== 'lengths' && name !== 'tags') c.differs('address', list, 0, list.sizeBytes);
      }
      masked(c, 'prog', ask(c, fd, 208, { [count]: 4, [pointer]: NOWHERE }).info);
      masked(c, 'prog', ask(c, fd, 208, { [count]: 4, [pointer]: 0n }).info);
    });
  }
  add(OBJ_GET_INFO_BY_FD, 'a prog: records of another size', (c) => {
    const fd = prog(c);
    for (const at of [132, 172, 176])
      masked(c, 'prog', ask(c, fd, 208, { [at]: 4, 144: 1, 148: 1 }).info);
  });
  add(OBJ_GET_INFO_BY_FD, 'a prog: a name, a license that is none, and a map', (c) => {
    const attribute = progAttribute(c, 1, returns(0), { 48: 'a.name_1' });
    const { fd } = c.bpf(Cmd.PROG_LOAD, { ...attribute, 16: c.put('none') });
    masked(c, 'prog', ask(c, fd, 208).info);
    c.bpf(Cmd.PROG_BIND_MAP, { 0: fd, 4: hash(c), 8: 0 });
    masked(c, 'prog', ask(c, fd, 208).info);
  });
  add(OBJ_GET_INFO_BY_FD, 'a prog: how often it ran', (c) => {
    c.bpf(Cmd.ENABLE_STATS, { 0: 0 });
    const fd = prog(c, ProgType.SOCKET_FILTER, returns(0));
    const { attribute } = c.bpf(Cmd.PROG_TEST_RUN, {
      0: fd,
      8: 64,
      16: c.put(pattern(64)),
      32: 5,
      36: 0,
    });
    c.differs('run time', attribute, 36);
    const { info } = ask(c, fd, 208);
    masked(c, 'prog', info);
    c.differs('run time', info, 192, 8);
  });
}

function pins(add: Add): void {
  for (const { kind, make } of objects) {
    const path = `${FOLDER}/${kind}`;
    add(OBJ_PIN, `a ${kind}, twice, and found again`, (c) => {
      const fd = make(c);
      c.bpf(OBJ_PIN, { 0: c.put(path), 8: fd });
      c.bpf(OBJ_PIN, { 0: c.put(path), 8: fd });
      c.bpf(OBJ_GET, { 0: c.put(path) });
      c.close(fd);
      const { fd: found } = c.bpf(OBJ_GET, { 0: c.put(path), 8: 0, 12: 0 });
      const { info } = ask(c, found, 16);
      c.differs('id', info, kind === 'btf' ? 12 : 4);
      c.differs('program id', info, 8);
      for (const flags of [8, 16, 24, 1, 1 << 14]) c.bpf(OBJ_GET, { 0: c.put(path), 12: flags });
    });
  }
  const wrong: Record<string, (c: Case) => Layout> = {
    'no such folder': (c) => ({ 0: c.put(`${FOLDER}/none/map`), 8: hash(c) }),
    'a folder of another file system': (c) => ({ 0: c.put('/proc/a'), 8: hash(c) }),
    'no path': (c) => ({ 0: 0n, 8: hash(c) }),
    'an empty path': (c) => ({ 0: c.put(''), 8: hash(c) }),
    'a path that is not there': (c) => ({ 0: NOWHERE, 8: hash(c) }),
    'a long path': (c) => ({ 0: c.put(`${FOLDER}/${'x'.repeat(300)}`), 8: hash(c) }),
    'a very long path': (c) => ({ 0: c.put('/x'.repeat(3000)), 8: hash(c) }),
    'a path without end': (c) => ({ 0: c.put(Buffer.from(`${FOLDER}/unended`)), 8: hash(c) }),
    'a name with a dot': (c) => ({ 0: c.put(`${FOLDER}/a.b`), 8: hash(c) }),
    'a descriptor that is not open': (c) => ({ 0: c.put(`${FOLDER}/a`), 8: NO_DESCRIPTOR }),
    'a file': (c) => ({ 0: c.put(`${FOLDER}/a`), 8: c.open('/proc/version') }),
    flags: (c) => ({ 0: c.put(`${FOLDER}/a`), 8: hash(c), 12: 8 }),
    'a folder without its flag': (c) => ({ 0: c.put(`${FOLDER}/a`), 8: hash(c), 16: 5 }),
    'a folder that is not open': (c) => ({
      0: c.put('a'),
      8: hash(c),
      12: 1 << 14,
      16: NO_DESCRIPTOR,
    }),
    'something behind its last field': (c) => ({ 0: c.put(`${FOLDER}/a`), 8: hash(c), 20: 1 }),
  };
  for (const [name, layout] of Object.entries(wrong)) {
    add(OBJ_PIN, name, (c) => c.bpf(OBJ_PIN, layout(c)));
    add(OBJ_GET, name, (c) => {
      const { 8: _, ...rest } = layout(c);
      c.bpf(OBJ_GET, rest);
    });
  }
  add(OBJ_PIN, 'in a folder by its descriptor', (c) => {
    const folder = c.open(FOLDER);
    const place = { 12: 1 << 14, 16: folder };
    c.bpf(OBJ_PIN, { 0: c.put('by-folder'), 8: hash(c), ...place });
    c.bpf(OBJ_GET, { 0: c.put('by-folder'), 8: 0, ...place });
  });
  add(OBJ_GET, 'a descriptor where none belongs', (c) =>
    c.bpf(OBJ_GET, { 0: c.put(`${FOLDER}/map`), 8: hash(c) }),
  );
  for (const sizeBytes of [0, 8, 11, 12, 16, 20]) {
    add(OBJ_PIN, `an attribute of ${sizeBytes} bytes`, (c) =>
      c.bpf(
        OBJ_PIN,
        { 0: c.put(`${FOLDER}/sized-${sizeBytes}`), 8: hash(c), 12: 0, 16: 0 },
        { sizeBytes },
      ),
    );
  }
}

function loading(add: Add): void {
  const load = (c: Case, bytes: Uint8Array, more: Layout = {}) => {
    const log = c.room(4096);
    c.bpf(BTF_LOAD, { 0: c.put(bytes), 8: log, 16: bytes.length, 20: 4096, 24: 1, 28: 0, ...more });
    return log;
  };
  const broken: Record<string, Uint8Array> = {
    'one type': integers,
    'a structure': pair,
    'no bytes': new Uint8Array(0),
    'half a header': integers.subarray(0, 12),
    'a header alone': integers.subarray(0, 24),
    'another byte order': Buffer.concat([Uint8Array.of(0xeb, 0x9f), integers.subarray(2)]),
    'another version': Buffer.concat([
      integers.subarray(0, 2),
      Uint8Array.of(9),
      integers.subarray(3),
    ]),
    'text without end': integers.subarray(0, integers.length - 1),
    'no types': btf([], '\0'),
    'a type of an unknown kind': btf([btfType(0, 30, 0, 0)], '\0'),
    'a pointer to itself': btf([btfType(0, 2, 0, 1)], '\0'),
    'a pointer to nothing': btf([btfType(0, 2, 0, 99)], '\0'),
    'a structure within itself': btf([btfType(1, 4, 1, 4, 3, 1, 0)], '\0a\0b\0'),
    'a member beyond its structure': btf([integer, btfType(1, 4, 1, 4, 5, 1, 64)], '\0int\0b\0'),
    'an integer of odd size': btf([btfType(1, 1, 0, 3, 24)], '\0int\0'),
    'a type that is cut short': btf([integer.subarray(0, 12)], '\0int\0'),
    'a name beyond the text': btf([btfType(77, 1, 0, 4, 32)], '\0int\0'),
    'a function': btf([integer, btfType(0, 13, 0, 1), btfType(5, 12, 1, 2)], '\0int\0f\0'),
    'a data section': btf(
      [integer, btfType(5, 14, 0, 1, 1), btfType(7, 15, 1, 4, 2, 0, 4)],
      '\0int\0v\0.data\0',
    ),
    'a float, a tag and a long enumeration': btf(
      [
        integer,
        btfType(5, 16, 0, 8),
        btfType(7, 17, 0, 1, 0xffff_ffff),
        btfType(9, 19, 1, 8, 11, 1, 0),
      ],
      '\0int\0f\0t\0e\0v\0',
    ),
  };
  for (const [name, bytes] of Object.entries(broken)) add(BTF_LOAD, name, (c) => load(c, bytes));
  for (const [name, more] of Object.entries<Layout>({
    'a level without a log': { 8: 0n, 20: 0 },
    'a log without a level': { 24: 0 },
    'a log that is not there': { 8: NOWHERE },
    'an unknown level': { 24: 64 },
    'a log of 16 bytes': { 20: 16 },
    'a log of 200 bytes': { 20: 200 },
    'bytes that are not there': { 0: NOWHERE },
    'more bytes than there are': { 16: 4096 },
    'too many bytes': { 16: 0x0200_0000 },
    'unknown flags': { 32: 1 },
    'a token that is not open': { 32: 1 << 16, 36: NO_DESCRIPTOR },
    'a token without its flag': { 36: 5 },
    'something behind its last field': { 40: 1 },
  })) {
    add(BTF_LOAD, name, (c) => load(c, pair, more));
    add(BTF_LOAD, `${name}, of what is refused`, (c) => load(c, integers.subarray(0, 30), more));
  }
  for (const sizeBytes of [0, 8, 16, 20, 28, 32, 36, 40]) {
    add(BTF_LOAD, `an attribute of ${sizeBytes} bytes`, (c) =>
      c.bpf(BTF_LOAD, { 0: c.put(pair), 8: 0n, 16: pair.length, 36: 0 }, { sizeBytes }),
    );
  }
}

/** Ids, pins, infos, and types. */
export function idCases(world: World): Case[] {
  return collect((add) => {
    byId(add);
    about(add, world);
    pins(add);
    loading(add);
  });
}
