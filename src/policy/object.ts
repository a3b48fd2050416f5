import { HELPER_CALL, OPERATION_MASK } from '../bpf/index.js';
import { failure } from '../errors.js';
import { nameOf } from './vocabulary.js';

/** The facts about a program in an object file that policies need. */
export interface ObjectProgram {
  /** The section's name, such as `tp/sched/sched_switch`. */
  section: string;
  /** The program's type by libbpf's convention, with its name in a policy. */
  type: string;
  /** The place to attach to, from the section's name. */
  hook: string | undefined;
  /** The names of the helpers that the program calls. */
  helpers: string[];
  /** The names of the kernel functions that the program calls. */
  kfuncs: string[];
}

/** The beginnings of libbpf's section names. The longest matching one counts. */
const conventions: Readonly<Record<string, string>> = {
  kprobe: 'kprobe',
  kretprobe: 'kprobe',
  ksyscall: 'kprobe',
  kretsyscall: 'kprobe',
  uprobe: 'kprobe',
  uretprobe: 'kprobe',
  usdt: 'kprobe',
  tp: 'tracepoint',
  tracepoint: 'tracepoint',
  raw_tp: 'raw_tracepoint',
  raw_tracepoint: 'raw_tracepoint',
  'raw_tp.w': 'raw_tracepoint_writable',
  'raw_tracepoint.w': 'raw_tracepoint_writable',
  tp_btf: 'tracing',
  fentry: 'tracing',
  fexit: 'tracing',
  fmod_ret: 'tracing',
  fsession: 'tracing',
  iter: 'tracing',
  freplace: 'ext',
  lsm: 'lsm',
  lsm_cgroup: 'lsm',
  perf_event: 'perf_event',
  xdp: 'xdp',
  tc: 'sched_cls',
  tcx: 'sched_cls',
  netkit: 'sched_cls',
  classifier: 'sched_cls',
  action: 'sched_act',
  socket: 'socket_filter',
  cgroup_skb: 'cgroup_skb',
  cgroup: 'cgroup_sock_addr',
  sockops: 'sock_ops',
  sk_skb: 'sk_skb',
  sk_msg: 'sk_msg',
  sk_lookup: 'sk_lookup',
  sk_reuseport: 'sk_reuseport',
  flow_dissector: 'flow_dissector',
  struct_ops: 'struct_ops',
  syscall: 'syscall',
  netfilter: 'netfilter',
};

const HEADER_BYTES = 64;
const EM_BPF = 247;
const SHT_PROGBITS = 1;
const SHT_REL = 9;
const SHF_EXECINSTR = 4;
const SYMBOL_BYTES = 24;
const CALL = 0x85;

interface Section {
  name: number;
  type: number;
  flags: number;
  bytes: Buffer;
  link: number;
  info: number;
}

/**
 * Reads the programs of a little-endian 64-bit BPF object file, as clang writes it.
 *
 * @throws ERR_OPTION_INVALID when the file is no such object file
 */
export function readObject(bytes: Buffer, file: string): ObjectProgram[] {
  const none = (why: string) =>
    failure('ERR_OPTION_INVALID', {
      option: '--object',
      value: file,
      expected: `a BPF object file as clang -target bpf writes it; ${why}`,
    });
  const begins = bytes.subarray(0, 6).equals(Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]));
  if (bytes.length < HEADER_BYTES || !begins) throw none('it does not begin as one');
  if (bytes.readUInt16LE(18) !== EM_BPF) throw none('it is for another machine');
  try {
    return programsOf(bytes);
  } catch (error) {
    if (error instanceof RangeError) throw none('it is cut short');
    throw error;
  }
}

function sectionsOf(bytes: Buffer): Section[] {
  const start = Number(bytes.readBigUInt64LE(40));
  const size = bytes.readUInt16LE(58);
  return Array.from({ length: bytes.readUInt16LE(60) }, (_, i) => {
    const at = start + i * size;
    const offset = Number(bytes.readBigUInt64LE(at + 24));
    const type = bytes.readUInt32LE(at + 4);
    const length = Number(bytes.readBigUInt64LE(at + 32));
    return {
      name: bytes.readUInt32LE(at),
      type,
      flags: Number(bytes.readBigUInt64LE(at + 8)),
      bytes: bytes.subarray(offset, offset + length),
      link: bytes.readUInt32LE(at + 40),
      info: bytes.readUInt32LE(at + 44),
    };
  });
}

function textAt(bytes: Buffer, offset: number): string {
  const end = bytes.indexOf(0, offset);
  return bytes.toString('latin1', offset, end < 0 ? bytes.length : end);
}

function programsOf(bytes: Buffer): ObjectProgram[] {
  const sections = sectionsOf(bytes);
  const names = sections[bytes.readUInt16LE(62)]?.bytes ?? Buffer.alloc(0);
  return sections.flatMap((section, index) => {
    const { type, flags, bytes: code } = section;
    if (type !== SHT_PROGBITS || (flags & SHF_EXECINSTR) === 0 || code.length === 0) return [];
    const name = textAt(names, section.name);
    const [kind = '', ...rest] = name.split('/');
    const program = conventions[kind.replace(/^\?/, '').replace(/\.(s|multi|session)$/, '')];
    // A function that programs call has a section of its own. That section is no program.
    const helpers = helpersOf(code);
    const kfuncs = kfuncsOf(sections, index, code);
    if (program === undefined) {
      return helpers.length + kfuncs.length === 0
        ? []
        : [{ section: name, type: 'unspec', hook: undefined, helpers, kfuncs }];
    }
    return [{ section: name, type: program, hook: rest.at(-1), helpers, kfuncs }];
  });
}

function helpersOf(code: Buffer): string[] {
  const found = new Set<string>();
  for (let at = 0; at + 8 <= code.length; at += 8) {
    // A call without a relocation calls a helper.
    if ((code.readUInt16LE(at) & OPERATION_MASK) === HELPER_CALL) {
      found.add(nameOf('helpers', code.readUInt32LE(at + 4)));
    }
  }
  return [...found];
}

/** Returns the called symbols that the object does not define. The kernel resolves them. */
function kfuncsOf(sections: readonly Section[], index: number, code: Buffer): string[] {
  const found = new Set<string>();
  for (const { type, info, link, bytes } of sections) {
    if (type !== SHT_REL || info !== index) continue;
    const symbols = sections[link];
    const texts = symbols === undefined ? undefined : sections[symbols.link]?.bytes;
    if (symbols === undefined || texts === undefined) continue;
    for (let at = 0; at + 16 <= bytes.length; at += 16) {
      const offset = Number(bytes.readBigUInt64LE(at));
      const symbol = bytes.readUInt32LE(at + 12) * SYMBOL_BYTES;
      const undefined_ = symbols.bytes.readUInt16LE(symbol + 6) === 0;
      if (code[offset] === CALL && undefined_) {
        found.add(textAt(texts, symbols.bytes.readUInt32LE(symbol)));
      }
    }
  }
  return [...found];
}
