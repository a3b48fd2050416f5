/* Cases about loading and running programs, and about the objects that are bound to them. */
import { type Case, type Layout, NOWHERE } from '../script.js';
import { AttachType, Cmd, MapType, ProgType } from '../uapi.js';
import type { World } from '../world.js';
import { pair } from './btf.js';
import { type Add, collect, lengths, withWord } from './collect.js';
import {
  code,
  hash,
  idOf,
  insn,
  map,
  op,
  pattern,
  prog,
  progAttribute,
  returns,
  words,
} from './objects.js';

const { PROG_LOAD, PROG_TEST_RUN } = Cmd;
const NO_DESCRIPTOR = 899;
const LOG_STATISTICS = 4;
/** src_reg of a 64-bit load: a map, its value, and both by their index in fd_array. */
const Source = { MAP: 1, MAP_VALUE: 2, BTF_ID: 3, MAP_INDEX: 5, VALUE_INDEX: 6 } as const;
const DISPATCHER = AttachType.SK_LOOKUP;

/** Program types with an attach type that each of them knows. */
const attachTypes: { readonly [type: string]: number } = {
  CGROUP_SKB: AttachType.CGROUP_INET_EGRESS,
  CGROUP_SOCK: AttachType.CGROUP_INET_SOCK_CREATE,
  CGROUP_SOCK_ADDR: 10,
  CGROUP_SOCKOPT: 21,
  SK_LOOKUP: DISPATCHER,
  NETFILTER: AttachType.NETFILTER,
  TRACING: AttachType.TRACE_FENTRY,
  LSM: AttachType.LSM_MAC,
};

/** Loads a program with a verifier's log. The log's words about descriptors and time differ. */
function loadWithLog(
  c: Case,
  instructions: Uint8Array,
  { level = 1, sizeBytes = 4096 } = {},
): void {
  const log = c.room(sizeBytes);
  const { attribute } = c.bpf(PROG_LOAD, {
    ...progAttribute(c, ProgType.SOCKET_FILTER, instructions),
    24: level,
    28: sizeBytes,
    32: log,
    140: 0,
  });
  // The length of the log depends on the number of digits of that time.
  if ((level & LOG_STATISTICS) !== 0) c.differs('verification time', attribute, 140);
  c.differsInText('verification time', log, /verification time \d+ usec/g);
}

function loading(add: Add): void {
  for (const [name, type] of Object.entries(ProgType)) {
    add(PROG_LOAD, name, (c) => {
      prog(c, type);
      prog(c, type, returns(1), { 68: attachTypes[name] ?? 0 });
      prog(c, type, returns(0), { 68: 63 });
    });
  }
  const wrong: Record<string, (c: Case) => Layout> = {
    'no such type': (c) => progAttribute(c, 200, returns(0)),
    'type 0': (c) => progAttribute(c, 0, returns(0)),
    'no instructions': (c) => ({ ...progAttribute(c, 1, returns(0)), 4: 0 }),
    'instructions that are not there': (c) => ({ ...progAttribute(c, 1, returns(0)), 8: NOWHERE }),
    'more instructions than there are': (c) => ({ ...progAttribute(c, 1, returns(0)), 4: 3 }),
    'two million instructions': (c) => ({ ...progAttribute(c, 1, returns(0)), 4: 2_000_000 }),
    'no license': (c) => ({ ...progAttribute(c, 1, returns(0)), 16: 0n }),
    'a license that is not there': (c) => ({ ...progAttribute(c, 1, returns(0)), 16: NOWHERE }),
    'a long license': (c) => ({ ...progAttribute(c, 1, returns(0)), 16: c.put('x'.repeat(300)) }),
    'a license without end': (c) => ({
      ...progAttribute(c, 1, returns(0)),
      16: c.put(Buffer.from('GPL')),
    }),
    'a license that is not free': (c) => ({
      ...progAttribute(c, 1, returns(0)),
      16: c.put('Proprietary'),
    }),
    'an old kernel version': (c) => progAttribute(c, ProgType.KPROBE, returns(0), { 40: 1 }),
    'unknown flags': (c) => progAttribute(c, 1, returns(0), { 44: 0x4000_0000 }),
    'strict alignment': (c) => progAttribute(c, 1, returns(0), { 44: 1 }),
    'any alignment': (c) => progAttribute(c, 1, returns(0), { 44: 2 }),
    sleepable: (c) => progAttribute(c, 1, returns(0), { 44: 16 }),
    'a name': (c) => progAttribute(c, 1, returns(0), { 48: 'a.name_1' }),
    'a name without end': (c) => progAttribute(c, 1, returns(0), { 48: 'abcdefghijklmnop' }),
    'a name with a blank': (c) => progAttribute(c, 1, returns(0), { 48: 'a b' }),
    'an interface that is not there': (c) => progAttribute(c, 1, returns(0), { 64: 77 }),
    'an interface that offloads nothing': (c) => progAttribute(c, 6, returns(0), { 64: 1 }),
    'BTF that is not open': (c) =>
      progAttribute(c, 1, returns(0), { 72: NO_DESCRIPTOR, 76: 8, 80: c.put(words(0, 0)), 88: 1 }),
    'a map for BTF': (c) =>
      progAttribute(c, 1, returns(0), { 72: hash(c), 76: 8, 80: c.put(words(0, 0)), 88: 1 }),
    'a type to attach to for a filter': (c) => progAttribute(c, 1, returns(0), { 108: 1 }),
    'a program to attach to for a filter': (c) => progAttribute(c, 1, returns(0), { 112: prog(c) }),
    'a program to replace without a type': (c) =>
      progAttribute(c, ProgType.EXT, returns(0), { 112: prog(c) }),
    'a program to replace that is not open': (c) =>
      progAttribute(c, ProgType.EXT, returns(0), { 108: 1, 112: NO_DESCRIPTOR }),
    'a token that is not open': (c) =>
      progAttribute(c, 1, returns(0), { 44: 1 << 16, 144: NO_DESCRIPTOR }),
    'a token without its flag': (c) => progAttribute(c, 1, returns(0), { 144: NO_DESCRIPTOR }),
    'something behind its last field': (c) => progAttribute(c, 1, returns(0), { 172: 1 }),
    'an unreachable instruction': (c) =>
      progAttribute(c, 1, code(op.set(0, 0), op.exit(), op.exit())),
    'no end': (c) => progAttribute(c, 1, op.set(0, 0)),
    'a register that was never set': (c) => progAttribute(c, 1, code(op.move(0, 3), op.exit())),
    'an unknown instruction': (c) => progAttribute(c, 1, code(insn(0xff), op.exit())),
    'an unknown helper': (c) => progAttribute(c, 1, code(op.call(9999), op.set(0, 0), op.exit())),
    'a helper of another type': (c) => progAttribute(c, 1, code(op.call(14), op.exit())),
    'half of a 64-bit load': (c) => progAttribute(c, 1, insn(0x18, 1)),
    'a loop without end': (c) => progAttribute(c, 1, insn(0x05, 0, 0, -1)),
  };
  for (const [name, layout] of Object.entries(wrong)) {
    add(PROG_LOAD, name, (c) => c.bpf(PROG_LOAD, layout(c)));
  }
  for (const sizeBytes of [...lengths, 40, 44, 48, 72, 112, 120, 128, 144, 152]) {
    add(PROG_LOAD, `an attribute of ${sizeBytes} bytes`, (c) =>
      c.bpf(PROG_LOAD, progAttribute(c, 1, returns(0)), { sizeBytes }),
    );
  }
}

function logs(add: Add): void {
  const refused = code(op.move(0, 3), op.exit());
  for (const level of [1, 2, 4, 7, 8]) {
    add(PROG_LOAD, `a log of level ${level}`, (c) => {
      loadWithLog(c, returns(0), { level });
      loadWithLog(c, refused, { level });
    });
  }
  for (const sizeBytes of [1, 16, 32, 127, 128, 200]) {
    add(PROG_LOAD, `a log of ${sizeBytes} bytes`, (c) => {
      loadWithLog(c, returns(0), { sizeBytes, level: 2 });
      loadWithLog(c, refused, { sizeBytes });
    });
  }
  add(PROG_LOAD, 'a log that is not there', (c) => {
    for (const log of [NOWHERE, 0n]) {
      const attribute = progAttribute(c, 1, refused, { 24: 1, 28: 4096, 32: log, 140: 0 });
      c.bpf(PROG_LOAD, attribute);
    }
  });
  add(PROG_LOAD, 'a log without a level, and a level without a log', (c) => {
    c.bpf(PROG_LOAD, progAttribute(c, 1, refused, { 28: 4096, 32: c.room(4096) }));
    c.bpf(PROG_LOAD, progAttribute(c, 1, refused, { 24: 1 }));
    c.bpf(PROG_LOAD, progAttribute(c, 1, refused, { 24: 2, 28: 0, 32: 0n, 140: 0 }));
  });
  add(PROG_LOAD, 'a log that is read-only memory', (c) => {
    const log = c.put(new Uint8Array(4096), 1);
    c.bpf(PROG_LOAD, progAttribute(c, 1, refused, { 24: 1, 28: 4096, 32: log }));
  });
}

/** Cases about instructions that refer to maps and types. */
function references(add: Add, world: World): void {
  const lookUp = (source: number, immediate: number) =>
    code(
      op.store32(10, -4, 0),
      op.move(2, 10),
      op.add(2, -4),
      op.load64(1, source, immediate),
      op.call(1),
      op.set(0, 0),
      op.exit(),
    );
  const value = (source: number, immediate: number, offset = 0) =>
    code(op.load64(1, source, immediate, offset), op.load32(0, 1, 0), op.exit());
  const array = (c: Case) => map(c, { type: MapType.ARRAY });
  add(PROG_LOAD, 'instructions with a map', (c) => prog(c, 1, lookUp(Source.MAP, hash(c))));
  add(PROG_LOAD, 'instructions with two maps, one of them twice', (c) => {
    const [one, other] = [array(c), array(c)];
    prog(
      c,
      1,
      code(
        op.load64(1, Source.MAP_VALUE, one),
        op.load64(2, Source.MAP_VALUE, other, 8),
        op.load64(3, Source.MAP_VALUE, one, 16),
        op.load32(0, 3, 0),
        op.exit(),
      ),
    );
  });
  add(PROG_LOAD, 'instructions with the value of a map', (c) =>
    prog(c, 1, value(Source.MAP_VALUE, array(c), 4)),
  );
  add(PROG_LOAD, 'instructions beyond the value of a map', (c) =>
    prog(c, 1, value(Source.MAP_VALUE, array(c), 4000)),
  );
  add(PROG_LOAD, 'instructions with the value of a hash', (c) =>
    prog(c, 1, value(Source.MAP_VALUE, hash(c))),
  );
  for (const [name, fd] of [
    ['a map that is not open', () => NO_DESCRIPTOR],
    ['a program for a map', (c: Case) => prog(c)],
    ['a file for a map', (c: Case) => c.open('/proc/version')],
    ['map −1', () => -1],
  ] as const) {
    add(PROG_LOAD, `instructions with ${name}`, (c) => {
      prog(c, 1, lookUp(Source.MAP, fd(c)));
      prog(c, 1, value(Source.MAP_VALUE, fd(c)));
    });
  }
  add(PROG_LOAD, 'instructions with maps by their index', (c) => {
    const list = c.put(words(hash(c), array(c)));
    prog(c, 1, lookUp(Source.MAP_INDEX, 0), { 120: list });
    prog(c, 1, value(Source.VALUE_INDEX, 1), { 120: list });
    prog(c, 1, lookUp(Source.MAP_INDEX, 2), { 120: list });
    prog(c, 1, lookUp(Source.MAP_INDEX, 0), { 120: NOWHERE });
    prog(c, 1, lookUp(Source.MAP_INDEX, 0));
  });
  add(PROG_LOAD, 'a counted list of maps', (c) => {
    const list = c.put(words(hash(c), array(c)));
    prog(c, 1, returns(0), { 120: list, 148: 2 });
    prog(c, 1, returns(0), { 120: c.put(words(NO_DESCRIPTOR)), 148: 1 });
    prog(c, 1, returns(0), { 120: NOWHERE, 148: 1 });
    prog(c, 1, returns(0), { 148: 1 });
  });
  add(PROG_LOAD, 'a map that the program does not fit', (c) =>
    prog(c, 1, lookUp(Source.MAP, map(c, { type: MapType.QUEUE, key: 0 }))),
  );
  add(PROG_LOAD, 'the address of a type of the kernel', (c) => {
    prog(c, ProgType.RAW_TRACEPOINT, code(op.load64(1, Source.BTF_ID, 1), ...tail));
    const id = world.typeId('var', 'runqueues');
    prog(c, ProgType.RAW_TRACEPOINT, code(op.load64(1, Source.BTF_ID, id), ...tail));
    prog(c, ProgType.RAW_TRACEPOINT, code(op.load64(1, Source.BTF_ID, id, hash(c)), ...tail));
  });
  add(PROG_LOAD, 'a function of a module that is none', (c) => {
    const call = insn(0x85, 0, 2, 1, 1);
    prog(c, ProgType.SCHED_CLS, code(call, ...tail), { 120: c.put(words(0, NO_DESCRIPTOR)) });
    prog(c, ProgType.SCHED_CLS, code(call, ...tail));
  });
}

const tail = [op.set(0, 0), op.exit()];

/** Cases about functions, lines and targets, by BTF. */
function types(add: Add, world: World): void {
  add(PROG_LOAD, 'functions of BTF that does not have them', (c) => {
    const { fd } = c.bpf(Cmd.BTF_LOAD, { 0: c.put(pair), 16: pair.length });
    for (const [size, count, type] of [
      [8, 1, 1],
      [4, 1, 1],
      [8, 2, 1],
      [12, 1, 1],
      [256, 1, 1],
      [8, 1, 99],
    ] as const) {
      const records = c.put({
        0: words(0, type),
        [Math.max(8, size * count) - 1]: Uint8Array.of(0),
      });
      prog(c, 1, returns(0), { 72: fd, 76: size, 80: records, 88: count, 140: 0 });
    }
  });
  add(PROG_LOAD, 'lines without functions', (c) => {
    const { fd } = c.bpf(Cmd.BTF_LOAD, { 0: c.put(pair), 16: pair.length });
    const line = c.put(words(0, 1, 1, 1024));
    prog(c, 1, returns(0), { 72: fd, 92: 16, 96: line, 104: 1 });
    prog(c, 1, returns(0), { 72: fd, 92: 8, 96: line, 104: 1 });
    prog(c, 1, returns(0), { 72: fd, 92: 16, 96: NOWHERE, 104: 1 });
  });
  add(PROG_LOAD, 'records with something behind what the kernel knows', (c) => {
    const { fd } = c.bpf(Cmd.BTF_LOAD, { 0: c.put(pair), 16: pair.length });
    const records = c.put(words(0, 1, 7, 0));
    prog(c, 1, returns(0), { 72: fd, 76: 16, 80: records, 88: 1, 140: 0 });
    prog(c, 1, returns(0), { 72: fd, 92: 20, 96: c.put(words(0, 1, 1, 1, 9)), 104: 1, 140: 0 });
    prog(c, 1, returns(0), { 72: fd, 116: 1, 128: c.put(words(0, 1, 1, 0, 5)), 136: 20 });
  });
  for (const [name, attachType, target] of [
    ['fentry', AttachType.TRACE_FENTRY, world.typeId('func', 'vfs_read')],
    ['fexit', AttachType.TRACE_FEXIT, world.typeId('func', 'vfs_read')],
    ['modify return', AttachType.MODIFY_RETURN, world.typeId('func', 'vfs_read')],
    ['an iterator', AttachType.TRACE_ITER, world.typeId('func', 'bpf_iter_task')],
    ['a raw tracepoint', AttachType.TRACE_RAW_TP, world.typeId('typedef', 'btf_trace_sys_enter')],
    ['no such type', AttachType.TRACE_FENTRY, 0x7ff_ffff],
    ['type 0', AttachType.TRACE_FENTRY, 0],
  ] as const) {
    add(PROG_LOAD, `tracing: ${name}`, (c) => {
      const log = c.room(4096);
      const more = { 24: 1, 28: 4096, 32: log, 68: attachType, 108: target, 112: 0 };
      prog(c, ProgType.TRACING, returns(0), more);
      prog(c, ProgType.TRACING, returns(0), { ...more, 112: NO_DESCRIPTOR });
      prog(c, ProgType.TRACING, returns(0), { ...more, 112: hash(c) });
      c.differsInText('verification time', log, /verification time \d+ usec/g);
    });
  }
}

function running(add: Add): void {
  const { XDP, SCHED_CLS, RAW_TRACEPOINT, SYSCALL, SOCKET_FILTER } = ProgType;
  /** Adds 2 to its context's first byte and returns 7. */
  const changes = code(
    op.load32(2, 1, 0),
    op.add(2, 2),
    insn(0x63, 1, 2, 0),
    op.set(0, 7),
    op.exit(),
  );
  const run = (c: Case, layout: Layout) => {
    const { attribute } = c.bpf(PROG_TEST_RUN, layout);
    c.differs('run time', attribute, 36);
  };
  for (const type of [XDP, SCHED_CLS, SOCKET_FILTER, ProgType.CGROUP_SKB, ProgType.LWT_IN]) {
    const name = Object.entries(ProgType).find(([, number]) => number === type)?.[0];
    add(PROG_TEST_RUN, `${name}: data in and out`, (c) => {
      const fd = prog(c, type, returns(2));
      const input = c.put(pattern(64));
      run(c, { 0: fd, 8: 64, 12: 64, 16: input, 24: c.room(64), 32: 3, 36: 0 });
      run(c, { 0: fd, 8: 64, 12: 10, 16: input, 24: c.room(64), 36: 0 });
      run(c, { 0: fd, 8: 64, 12: 0, 16: input, 24: c.room(64), 36: 0 });
      run(c, { 0: fd, 8: 64, 16: input, 36: 0 });
      run(c, { 0: fd, 8: 10, 16: input, 36: 0 });
      run(c, { 0: fd, 36: 0 });
    });
    add(PROG_TEST_RUN, `${name}: pointers to nothing`, (c) => {
      const fd = prog(c, type, returns(2));
      const input = c.put(pattern(64));
      run(c, { 0: fd, 8: 64, 16: NOWHERE, 36: 0 });
      run(c, { 0: fd, 8: 64, 12: 64, 16: input, 24: NOWHERE, 36: 0 });
      run(c, { 0: fd, 8: 64, 16: input, 36: 0, 40: 16, 48: NOWHERE });
      run(c, { 0: fd, 8: 64, 16: input, 36: 0, 44: 16, 56: NOWHERE });
      run(c, { 0: fd, 8: 128, 16: input, 36: 0 });
    });
  }
  add(PROG_TEST_RUN, 'a context in and out', (c) => {
    const skb = prog(c, SCHED_CLS, returns(0));
    const context = c.put({ 8: 5, 191: Uint8Array.of(0) });
    run(c, {
      0: skb,
      8: 64,
      16: c.put(pattern(64)),
      36: 0,
      40: 192,
      44: 192,
      48: context,
      56: c.room(192),
    });
    run(c, {
      0: skb,
      8: 64,
      16: c.put(pattern(64)),
      36: 0,
      40: 192,
      44: 50,
      48: context,
      56: c.room(192),
    });
    run(c, {
      0: skb,
      8: 64,
      16: c.put(pattern(64)),
      36: 0,
      40: 192,
      44: 192,
      48: c.put(pattern(192)),
      56: c.room(192),
    });
  });
  add(PROG_TEST_RUN, 'a system call’s context, which is written back', (c) => {
    const fd = prog(c, SYSCALL, changes, { 44: 16 });
    run(c, { 0: fd, 36: 0, 40: 16, 48: c.put(words(5, 6, 7, 8)) });
    run(c, { 0: fd, 36: 0, 40: 70_000, 48: c.put(pattern(64)) });
    run(c, { 0: fd, 36: 0, 40: 16, 44: 16, 48: c.put(words(1, 2, 3, 4)), 56: c.room(16) });
    run(c, { 0: fd, 36: 0 });
  });
  add(PROG_TEST_RUN, 'a raw tracepoint, here and on a CPU', (c) => {
    const fd = prog(c, RAW_TRACEPOINT, returns(3));
    run(c, { 0: fd, 36: 0, 40: 16, 48: c.put(pattern(16)) });
    run(c, { 0: fd, 36: 0, 64: 1, 68: 0 });
    run(c, { 0: fd, 36: 0, 64: 1, 68: 5000 });
    run(c, { 0: fd, 32: 2, 36: 0 });
  });
  add(PROG_TEST_RUN, 'a packet grows and shrinks', (c) => {
    const adjust = (by: number) => code(op.set(2, by), op.call(44), op.set(0, 2), op.exit());
    for (const by of [-32, 16, -4000]) {
      run(c, {
        0: prog(c, XDP, adjust(by)),
        8: 64,
        12: 128,
        16: c.put(pattern(64)),
        24: c.room(128),
        36: 0,
      });
    }
  });
  add(PROG_TEST_RUN, 'packets that are sent on', (c) => {
    const fd = prog(c, XDP, returns(1));
    run(c, { 0: fd, 8: 64, 16: c.put(pattern(64)), 32: 4, 36: 0, 64: 2, 72: 2 });
    run(c, { 0: fd, 8: 64, 16: c.put(pattern(64)), 32: 4, 36: 0, 64: 2, 72: 5000 });
  });
  for (const [name, fd] of [
    ['a program that is not open', () => NO_DESCRIPTOR],
    ['a map', (c: Case) => hash(c)],
    ['a file', (c: Case) => c.open('/proc/version')],
    ['a type that cannot be run', (c: Case) => prog(c, ProgType.KPROBE)],
  ] as const) {
    add(PROG_TEST_RUN, name, (c) => run(c, { 0: fd(c), 8: 64, 16: c.put(pattern(64)), 36: 0 }));
  }
  add(PROG_TEST_RUN, 'unknown flags', (c) =>
    run(c, { 0: prog(c, XDP), 8: 64, 16: c.put(pattern(64)), 36: 0, 64: 0x80 }),
  );
  add(PROG_TEST_RUN, 'something behind its last field', (c) =>
    run(c, { 0: prog(c, XDP), 36: 0, 84: 1 }),
  );
  for (const sizeBytes of [4, 36, 40, 64, 76]) {
    add(PROG_TEST_RUN, `an attribute of ${sizeBytes} bytes`, (c) => {
      const layout = { 0: prog(c, XDP), 8: 64, 16: c.put(pattern(64)), 72: 0 };
      const { attribute } = c.bpf(PROG_TEST_RUN, layout, { sizeBytes });
      c.differs('run time', attribute, 36);
    });
  }
}

function binding(add: Add): void {
  const { PROG_BIND_MAP } = Cmd;
  add(PROG_BIND_MAP, 'a map, and again', (c) => {
    const [program, bound] = [prog(c), hash(c)];
    c.bpf(PROG_BIND_MAP, { 0: program, 4: bound, 8: 0 });
    c.bpf(PROG_BIND_MAP, { 0: program, 4: bound, 8: 0 });
    c.bpf(PROG_BIND_MAP, { 0: program, 4: bound, 8: 1 });
    c.bpf(PROG_BIND_MAP, { 0: program, 4: bound });
    c.bpf(PROG_BIND_MAP, { 0: bound, 4: program, 8: 0 });
    c.bpf(PROG_BIND_MAP, { 0: NO_DESCRIPTOR, 4: bound, 8: 0 });
    c.bpf(PROG_BIND_MAP, { 0: program, 4: NO_DESCRIPTOR, 8: 0 });
    c.bpf(PROG_BIND_MAP, { 0: program, 4: bound, 8: 0, 12: 1 });
  });
}

function statistics(add: Add): void {
  const { ENABLE_STATS } = Cmd;
  add(ENABLE_STATS, 'of a kind', (c) => {
    for (const type of [0, 1, 77, 0xffff_ffff]) c.bpf(ENABLE_STATS, { 0: type });
    c.bpf(ENABLE_STATS, { 0: 0, 4: 1 });
    c.bpf(ENABLE_STATS, { 0: 0 }, { sizeBytes: 0 });
    c.close(c.bpf(ENABLE_STATS, { 0: 0 }).fd);
  });
}

/** Cases that only newer kernels support, or that no kernel does. */
function newest(add: Add): void {
  add(Cmd.PROG_STREAM_READ_BY_FD, 'of a program', (c) => {
    const fd = prog(c);
    c.bpf(Cmd.PROG_STREAM_READ_BY_FD, { 0: c.room(64), 8: 64, 12: 1, 16: fd });
    c.bpf(Cmd.PROG_STREAM_READ_BY_FD, { 0: NOWHERE, 8: 64, 12: 1, 16: fd });
    c.bpf(Cmd.PROG_STREAM_READ_BY_FD, { 0: c.room(64), 8: 64, 12: 9, 16: NO_DESCRIPTOR });
  });
  add(Cmd.PROG_ASSOC_STRUCT_OPS, 'of a program', (c) => {
    c.bpf(Cmd.PROG_ASSOC_STRUCT_OPS, { 0: hash(c), 4: prog(c), 8: 0 });
    c.bpf(Cmd.PROG_ASSOC_STRUCT_OPS, { 0: NO_DESCRIPTOR, 4: prog(c), 8: 0 });
  });
  add(NO_COMMAND, 'a command that no kernel has', (c) => {
    for (const command of [39, 63, 64, 1000, 0xffff, -1]) c.bpf(command, { 0: 0, 60: 0 });
  });
  const COMMON = 1 << 16;
  add(Cmd.MAP_CREATE, 'five arguments', (c) => {
    const log = c.room(64);
    const common = c.put({ 0: log, 8: 64, 12: 1, 16: 0, 20: 0 });
    const attribute = { 0: 1, 4: 4, 8: 8, 12: 4, 16: 0 };
    const { address } = common;
    c.bpf(Cmd.MAP_CREATE | COMMON, attribute, { common: { address, sizeBytes: 24 } });
    c.bpf(Cmd.MAP_CREATE | COMMON, attribute, { common: { address: 0n, sizeBytes: 24 } });
    c.bpf(Cmd.MAP_CREATE | COMMON, attribute, { common: { address: NOWHERE, sizeBytes: 24 } });
    c.bpf(Cmd.MAP_CREATE | COMMON, attribute);
    c.bpf(Cmd.MAP_CREATE, attribute, { common: { address, sizeBytes: 24 } });
  });
  add(PROG_LOAD, 'five arguments', (c) => {
    const { address } = c.put({ 20: 0 });
    const common = { address, sizeBytes: 24 };
    c.bpf(PROG_LOAD | COMMON, progAttribute(c, 1, returns(0)), { common });
    c.bpf(PROG_LOAD | COMMON, progAttribute(c, 1, returns(0)), {
      common: { address: 0n, sizeBytes: 24 },
    });
  });
}

const NO_COMMAND = 39;

function raw(add: Add): void {
  const { RAW_TRACEPOINT_OPEN } = Cmd;
  const tracer = (c: Case) => prog(c, ProgType.RAW_TRACEPOINT);
  add(RAW_TRACEPOINT_OPEN, 'by its name', (c) => {
    c.bpf(RAW_TRACEPOINT_OPEN, { 0: c.put('sys_enter'), 8: tracer(c) });
    c.bpf(RAW_TRACEPOINT_OPEN, { 0: c.put('sys_enter'), 8: tracer(c), 16: 0x1234_5678_9abcn });
  });
  const wrong: Record<string, (c: Case) => Layout> = {
    'no such tracepoint': (c) => ({ 0: c.put('no_such_tracepoint'), 8: tracer(c) }),
    'no name': (c) => ({ 0: 0n, 8: tracer(c) }),
    'an empty name': (c) => ({ 0: c.put(''), 8: tracer(c) }),
    'a name that is not there': (c) => ({ 0: NOWHERE, 8: tracer(c) }),
    'a long name': (c) => ({ 0: c.put('x'.repeat(400)), 8: tracer(c) }),
    'a name without end': (c) => ({ 0: c.put(Buffer.from('sys_enter')), 8: tracer(c) }),
    'a program that is not open': (c) => ({ 0: c.put('sys_enter'), 8: NO_DESCRIPTOR }),
    'a program of another type': (c) => ({ 0: c.put('sys_enter'), 8: prog(c) }),
    'a map': (c) => ({ 0: c.put('sys_enter'), 8: hash(c) }),
    'something behind its last field': (c) => ({ 0: c.put('sys_enter'), 8: tracer(c), 24: 1 }),
  };
  for (const [name, layout] of Object.entries(wrong)) {
    add(RAW_TRACEPOINT_OPEN, name, (c) => c.bpf(RAW_TRACEPOINT_OPEN, layout(c)));
  }
  for (const sizeBytes of [0, 8, 12, 16, 24]) {
    add(RAW_TRACEPOINT_OPEN, `an attribute of ${sizeBytes} bytes`, (c) =>
      c.bpf(RAW_TRACEPOINT_OPEN, { 0: c.put('sys_enter'), 8: tracer(c), 16: 0n }, { sizeBytes }),
    );
  }
  const { TASK_FD_QUERY } = Cmd;
  const open = (c: Case) => c.bpf(RAW_TRACEPOINT_OPEN, { 0: c.put('sys_enter'), 8: tracer(c) }).fd;
  for (const sizeBytes of [64, 9, 4, 1, 0]) {
    add(TASK_FD_QUERY, `its own link, for ${sizeBytes} bytes of name`, (c) => {
      const room = c.room(64);
      const layout = { 4: open(c), 8: 0, 12: sizeBytes, 16: room, 40: 0n };
      const { attribute } = withWord(c, TASK_FD_QUERY, layout, c.self(), 0);
      c.differs('program id', attribute, 24);
    });
  }
  add(TASK_FD_QUERY, 'descriptors that are no events', (c) => {
    for (const fd of [prog(c), hash(c), NO_DESCRIPTOR, c.open('/proc/version')]) {
      withWord(c, TASK_FD_QUERY, { 4: fd, 12: 64, 16: c.room(64), 40: 0n }, c.self(), 0);
    }
  });
  add(TASK_FD_QUERY, 'nobody, flags, and names to nowhere', (c) => {
    c.bpf(TASK_FD_QUERY, { 0: 4_000_000, 4: 0, 12: 64, 16: c.room(64), 40: 0n });
    c.bpf(TASK_FD_QUERY, { 0: 1, 4: 500, 12: 64, 16: c.room(64), 40: 0n });
    withWord(c, TASK_FD_QUERY, { 4: open(c), 8: 1, 12: 64, 16: c.room(64), 40: 0n }, c.self(), 0);
    const layout = { 4: open(c), 12: 64, 16: NOWHERE, 40: 0n };
    const { attribute } = withWord(c, TASK_FD_QUERY, layout, c.self(), 0);
    c.differs('program id', attribute, 24);
  });
}

/** Cases about the ids of programs, of their runs and of bound objects. */
function ids(add: Add): void {
  add(Cmd.PROG_GET_FD_BY_ID, 'a program runs on while it is open elsewhere', (c) => {
    const fd = prog(c);
    const id = idOf(c, fd, 'prog');
    withWord(c, Cmd.PROG_GET_FD_BY_ID, { 8: 0 }, id, 0);
    c.close(fd);
    withWord(c, Cmd.PROG_GET_FD_BY_ID, { 8: 0 }, id, 0);
  });
}

/** Programs, and the commands about them that take no other object. */
export function programCases(world: World): Case[] {
  return collect((add) => {
    loading(add);
    logs(add);
    references(add, world);
    types(add, world);
    running(add);
    binding(add);
    statistics(add);
    raw(add);
    ids(add);
    newest(add);
  });
}
