/* Object files that are made here: what a compiler writes of each kind, and what it does not. */
import t from 'tap';
import { readObject } from '../../src/policy/index.js';

interface Part {
  name: string;
  type?: number;
  flags?: number;
  bytes?: Buffer;
  link?: number;
  info?: number;
}

const SECTION_BYTES = 64;
const EXECUTABLE = 6;
const code = { type: 1, flags: EXECUTABLE };

/** Returns an ELF file of a machine with these sections, the names in the last one. */
function elf(parts: readonly Part[], machine = 247): Buffer {
  const texts = [...parts.map(({ name }) => name), '.strtab'];
  const names = Buffer.from(`${texts.join('\0')}\0`, 'latin1');
  const sections = [...parts, { name: '.strtab', type: 3, bytes: names }];
  const bodies = Buffer.concat(sections.map(({ bytes = Buffer.alloc(0) }) => bytes));
  const header = Buffer.alloc(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  header.writeUInt16LE(machine, 18);
  header.writeBigUInt64LE(BigInt(64 + bodies.length), 40);
  header.writeUInt16LE(SECTION_BYTES, 58);
  header.writeUInt16LE(sections.length, 60);
  header.writeUInt16LE(sections.length - 1, 62);
  let offset = 64;
  let name = 0;
  const table = sections.map((part, at) => {
    const entry = Buffer.alloc(SECTION_BYTES);
    const { type = 0, flags = 0, bytes = Buffer.alloc(0), link = 0, info = 0 }: Part = part;
    entry.writeUInt32LE(name, 0);
    entry.writeUInt32LE(type, 4);
    entry.writeBigUInt64LE(BigInt(flags), 8);
    entry.writeBigUInt64LE(BigInt(offset), 24);
    entry.writeBigUInt64LE(BigInt(bytes.length), 32);
    entry.writeUInt32LE(link, 40);
    entry.writeUInt32LE(info, 44);
    name += Buffer.byteLength(texts[at] ?? '', 'latin1') + 1;
    offset += bytes.length;
    return entry;
  });
  return Buffer.concat([header, bodies, ...table]);
}

/** An instruction: its code with the registers, and its immediate value. */
function instruction(operation: number, registers: number, immediate: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.set([operation, registers]);
  bytes.writeInt32LE(immediate, 4);
  return bytes;
}

const CALL = 0x85;
const exit = instruction(0x95, 0, 0);
const lookup = instruction(CALL, 0, 1);
const local = instruction(CALL, 0x10, -1);
const sections = (parts: readonly Part[]) => readObject(elf(parts), 'x.o');
const only = (name: string, bytes = exit) => sections([{ name, ...code, bytes }])[0];

t.test('the type of a program follows from the name of its section', async (t) => {
  const types = {
    'kprobe/do_nanosleep': ['kprobe', 'do_nanosleep'],
    'kretprobe.multi/tcp_*': ['kprobe', 'tcp_*'],
    'kprobe.session/x': ['kprobe', 'x'],
    'ksyscall/openat': ['kprobe', 'openat'],
    'kretsyscall/openat': ['kprobe', 'openat'],
    'uprobe.s//bin/bash:readline': ['kprobe', 'bash:readline'],
    'uretprobe/x': ['kprobe', 'x'],
    'usdt/x': ['kprobe', 'x'],
    'tp/sched/sched_switch': ['tracepoint', 'sched_switch'],
    'tracepoint/a/b': ['tracepoint', 'b'],
    'raw_tp/sys_enter': ['raw_tracepoint', 'sys_enter'],
    'raw_tracepoint/sys_enter': ['raw_tracepoint', 'sys_enter'],
    'raw_tp.w/x': ['raw_tracepoint_writable', 'x'],
    'raw_tracepoint.w/x': ['raw_tracepoint_writable', 'x'],
    'tp_btf/x': ['tracing', 'x'],
    'fentry/x': ['tracing', 'x'],
    'fexit.s/x': ['tracing', 'x'],
    'fmod_ret/x': ['tracing', 'x'],
    'fsession/x': ['tracing', 'x'],
    'iter/task': ['tracing', 'task'],
    'freplace/x': ['ext', 'x'],
    'lsm/file_open': ['lsm', 'file_open'],
    'lsm_cgroup/x': ['lsm', 'x'],
    perf_event: ['perf_event', undefined],
    '?xdp': ['xdp', undefined],
    tc: ['sched_cls', undefined],
    'tcx/ingress': ['sched_cls', 'ingress'],
    'netkit/peer': ['sched_cls', 'peer'],
    classifier: ['sched_cls', undefined],
    action: ['sched_act', undefined],
    socket: ['socket_filter', undefined],
    'cgroup_skb/egress': ['cgroup_skb', 'egress'],
    'cgroup/connect4': ['cgroup_sock_addr', 'connect4'],
    sockops: ['sock_ops', undefined],
    'sk_skb/verdict': ['sk_skb', 'verdict'],
    sk_msg: ['sk_msg', undefined],
    sk_lookup: ['sk_lookup', undefined],
    sk_reuseport: ['sk_reuseport', undefined],
    flow_dissector: ['flow_dissector', undefined],
    'struct_ops.s/init': ['struct_ops', 'init'],
    syscall: ['syscall', undefined],
    netfilter: ['netfilter', undefined],
  };
  for (const [section, [type, hook]] of Object.entries(types)) {
    t.same(only(section), { section, type, hook, helpers: [], kfuncs: [] }, section);
  }
});

t.test('a section that is no program is left out, unless it calls something', async (t) => {
  t.same(only('.text'), undefined);
  t.match(only('.text', lookup), { type: 'unspec', helpers: ['bpf_map_lookup_elem'] });
  t.same(only('xdp.x'), undefined, 'nobody knows what that is');
  t.same(only('xd?p'), undefined);
  t.same(only('xdp.sx'), undefined);
  t.same(only('xdp', Buffer.alloc(0)), undefined, 'it is empty');
  t.same(sections([{ name: 'xdp', type: 1, flags: 2, bytes: exit }]), [], 'it is not executable');
  t.same(sections([{ name: 'xdp', type: 8, flags: EXECUTABLE, bytes: exit }]), []);
});

t.test('helpers are told once, by their names', async (t) => {
  const bytes = Buffer.concat([lookup, local, instruction(CALL, 0, 5), lookup, exit]);
  t.match(only('xdp', bytes), { helpers: ['bpf_map_lookup_elem', 'bpf_ktime_get_ns'] });
  t.match(only('xdp', instruction(CALL, 0, 4000)), { helpers: ['4000'] });
  t.match(only('xdp', instruction(CALL, 0x20, 1)), { helpers: [] }, 'a function of the kernel');
  t.match(
    only('xdp', Buffer.concat([exit, lookup.subarray(0, 7)])),
    { helpers: [] },
    'half a call',
  );
});

/** Relocations, each with the offset of its instruction and the number of its symbol. */
function relocations(...pairs: [offset: number, symbol: number][]): Buffer {
  return Buffer.concat(
    pairs.map(([offset, symbol]) => {
      const bytes = Buffer.alloc(16);
      bytes.writeBigUInt64LE(BigInt(offset), 0);
      bytes.writeUInt32LE(10, 8);
      bytes.writeUInt32LE(symbol, 12);
      return bytes;
    }),
  );
}

/** A symbol: the offset of its name, and the section that has it, or 0. */
function symbol(name: number, section: number): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeUInt32LE(name, 0);
  bytes.writeUInt16LE(section, 6);
  return bytes;
}

t.test('functions of the kernel are those that no section has', async (t) => {
  const texts = Buffer.from('\0bpf_one\0own\0bpf_two\0data\0', 'latin1');
  const symbols = Buffer.concat([
    ...[symbol(0, 0), symbol(1, 0), symbol(9, 1), symbol(13, 0), symbol(21, 0)],
  ]);
  const load = instruction(0x18, 0, 0);
  const bytes = Buffer.concat([local, local, load, local, local]);
  const calls = relocations([0, 1], [8, 2], [16, 4], [24, 3], [32, 1]);
  const parts = [
    { name: 'xdp', ...code, bytes },
    { name: '.relxdp', type: 9, link: 2, info: 0, bytes: calls },
    { name: '.symtab', type: 2, link: 3, bytes: symbols },
    { name: '.names', type: 3, bytes: texts },
    { name: 'tc', ...code, bytes: exit },
  ];
  const [xdp, tc] = sections(parts);
  t.same(xdp?.kfuncs, ['bpf_one', 'bpf_two'], 'not its own function, and not what is loaded');
  t.same(tc?.kfuncs, [], 'the relocations are those of the other program');
  const of = (changes: Readonly<Record<number, Partial<Part>>>) =>
    sections(parts.map((part, at) => ({ ...part, ...changes[at] })))[0]?.kfuncs;
  t.same(of({ 1: { type: 4 } }), [], 'no relocations of that type');
  t.same(of({ 1: { link: 99 } }), [], 'no symbols');
  t.same(of({ 2: { link: 99 } }), [], 'no names');
  t.same(of({ 1: { bytes: calls.subarray(0, 31) } }), ['bpf_one'], 'half a relocation');
  const helperToo = { name: '.text', bytes: Buffer.concat([local, lookup]) };
  const one = { bytes: calls.subarray(0, 16) };
  t.match(sections(parts.map((part, at) => ({ ...part, ...[helperToo, one][at] })))[0], {
    ...{ type: 'unspec', helpers: ['bpf_map_lookup_elem'], kfuncs: ['bpf_one'] },
  });
});

t.test('what is no such file is refused with the reason', async (t) => {
  const refused = (bytes: Buffer, why: string) =>
    t.throws(
      () => readObject(bytes, 'x.o'),
      {
        code: 'ERR_OPTION_INVALID',
        message: `Invalid --object: "x.o". Expected a BPF object file as clang -target bpf writes it; ${why}.`,
      },
      why,
    );
  const whole = elf([{ name: 'xdp', ...code, bytes: exit }]);
  refused(Buffer.from('#!/bin/sh'), 'it does not begin as one');
  refused(whole.subarray(0, 63), 'it does not begin as one');
  refused(Buffer.concat([Buffer.from('X'), whole.subarray(1)]), 'it does not begin as one');
  refused(elf([], 62), 'it is for another machine');
  refused(whole.subarray(0, 64), 'it is cut short');
  refused(whole.subarray(0, -20), 'it is cut short');
  t.equal(readObject(whole, 'x.o').length, 1);
  t.same(readObject(elf([]), 'x.o'), []);
});
