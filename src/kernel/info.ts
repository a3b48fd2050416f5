/* What the kernel says about its objects, in this library's names and units. */
import { enums, type Ref, type Results, rows } from '../bpf/index.js';
import { viewOf } from '../codec/index.js';
import type { BpfOptions } from './bpf-calls.js';
import type { GuestKernel } from './guest-kernel.js';

/** The kernel's information about a map. Sizes are in bytes. */
export interface MapInfo {
  /** The number of the map in its kernel. */
  readonly id: number;
  /** `BPF_MAP_TYPE_*`. */
  readonly type: number;
  /** The name that the map was made with, or an empty text. */
  readonly name: string;
  /** The size of a key, in bytes. */
  readonly keySize: number;
  /** The size of a value, in bytes. */
  readonly valueSize: number;
  /** The number of entries that there is room for, or the bytes of a ring buffer. */
  readonly maxEntries: number;
  /** `BPF_F_*`. */
  readonly flags: number;
  /** The id of its types, or 0; `keyType` and `valueType` are types in there. */
  readonly btfId: number;
  /** The number of the keys' type in the map's types, or 0. */
  readonly keyType: number;
  /** The number of the values' type in the map's types, or 0. */
  readonly valueType: number;
  /** Of a STRUCT_OPS map: the type of its value in the kernel's own types, or 0. */
  readonly kernelValueType: number;
  /** The network interface whose device runs it, or 0. */
  readonly interfaceIndex: number;
  /**
   * `map_extra`: what only some types of maps have, such as the hash functions of a bloom filter.
   */
  readonly extra: bigint;
}

export function mapInfo(info: Results<typeof rows.OBJ_GET_INFO_BY_FD_MAP>['info']): MapInfo {
  return {
    id: info.id,
    type: info.type,
    name: info.name,
    keySize: info.key_size,
    valueSize: info.value_size,
    maxEntries: info.max_entries,
    flags: info.map_flags,
    btfId: info.btf_id,
    keyType: info.btf_key_type_id,
    valueType: info.btf_value_type_id,
    kernelValueType: info.btf_vmlinux_value_type_id,
    interfaceIndex: info.ifindex,
    extra: info.map_extra,
  };
}

/** The kernel's information about a program. */
export interface ProgramInfo {
  /** The number of the program in its kernel. */
  readonly id: number;
  /** `BPF_PROG_TYPE_*`. */
  readonly type: number;
  /** The name that the program was loaded with, or an empty text. */
  readonly name: string;
  /** A hash of its instructions, as bpftool prints it. */
  readonly tag: string;
  /** The ids of the maps that it uses. */
  readonly mapIds: readonly number[];
  /** When it was loaded, in nanoseconds since the guest booted. */
  readonly loadTimeNs: bigint;
  /** The user who has loaded the program. */
  readonly createdByUid: number;
  /** Whether the program's licence allows helpers for the GPL. */
  readonly gplCompatible: boolean;
  /** The bytes of its instructions as the verifier left them, and as machine code. */
  readonly translatedBytes: number;
  /** The size of the compiled program, in bytes. */
  readonly compiledBytes: number;
  /** How many instructions the verifier looked at; 0 before 5.16. */
  readonly verifiedInstructions: number;
  /** The id of its types, or 0. */
  readonly btfId: number;
  /** The id of its target in these types; 0 if it has none. */
  readonly attachBtfObjectId: number;
  /** The number of the type that the program is attached to, or 0. */
  readonly attachBtfId: number;
  /** Counted while statistics are enabled; see {@link Session.enableStatistics}. */
  readonly runTimeNs: bigint;
  /** How often the program has run, while statistics were enabled. */
  readonly runCount: bigint;
  /** How often it was not run because it was running already. */
  readonly recursionMisses: bigint;
  /** The network interface whose device runs it, or 0. */
  readonly interfaceIndex: number;
}

/** Room for the ids of a program's maps; one that uses more is asked again. */
const MAP_IDS = 64;

/** Asks about a program (BPF_OBJ_GET_INFO_BY_FD, bpf_prog_get_info_by_fd()). */
export async function readProgramInfo(
  session: GuestKernel,
  program: Ref<'prog'>,
  about?: BpfOptions,
): Promise<ProgramInfo> {
  const ask = async (mapIds: number) => {
    const values = { bpf_fd: program, info: { nr_map_ids: mapIds } };
    return (await session.bpf(rows.OBJ_GET_INFO_BY_FD_PROG, values, about)).info;
  };
  let info = await ask(MAP_IDS);
  if (info.nr_map_ids > MAP_IDS) info = await ask(info.nr_map_ids);
  return {
    id: info.id,
    type: info.type,
    name: info.name,
    tag: Buffer.from(info.tag).toString('hex'),
    mapIds: numbers(info.map_ids),
    loadTimeNs: info.load_time,
    createdByUid: info.created_by_uid,
    gplCompatible: info.gpl_compatible,
    translatedBytes: info.xlated_prog_len,
    compiledBytes: info.jited_prog_len,
    verifiedInstructions: info.verified_insns,
    btfId: info.btf_id,
    attachBtfObjectId: info.attach_btf_obj_id,
    attachBtfId: info.attach_btf_id,
    runTimeNs: info.run_time_ns,
    runCount: info.run_cnt,
    recursionMisses: info.recursion_misses,
    interfaceIndex: info.ifindex,
  };
}

function numbers(bytes: Uint8Array | undefined): number[] {
  if (bytes === undefined) return [];
  const view = viewOf(bytes);
  return Array.from({ length: bytes.length >> 2 }, (_, at) => view.getUint32(4 * at, true));
}

/** The kernel's information about types. */
export interface BtfInfo {
  /** The number of the types in their kernel. */
  readonly id: number;
  /** `vmlinux`, the name of a module, or `''` for types that a program loaded. Since 5.11. */
  readonly name: string;
  /** Whether they are the kernel's own. Since 5.11. */
  readonly ofKernel: boolean;
  /** The size of the types, in bytes. */
  readonly sizeBytes: number;
}

const NAME_BYTES = 64;

/** Asks about types (BPF_OBJ_GET_INFO_BY_FD, btf_get_info_by_fd()). */
export async function readBtfInfo(
  session: GuestKernel,
  btf: Ref<'btf'>,
  about?: BpfOptions,
): Promise<BtfInfo> {
  const values = { bpf_fd: btf, info: { name_len: NAME_BYTES } };
  const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_BTF, values, about);
  return {
    id: info.id,
    name: info.name ?? '',
    ofKernel: info.kernel_btf !== 0,
    sizeBytes: info.btf_size,
  };
}

interface CommonLinkInfo {
  readonly id: number;
  /** The id of the attached program, or 0. */
  readonly programId: number;
}

/** The kernel's information about a link: the fields of all links, and those of its type. */
export type LinkInfo = CommonLinkInfo &
  (
    | { readonly type: 'raw_tracepoint'; readonly tracepoint: string }
    | {
        readonly type: 'tracing';
        /** `BPF_*` attach type. */
        readonly attachType: number;
        /** The program or types that it is attached to, and the type in there. */
        readonly targetObjectId: number;
        readonly targetBtfId: number;
      }
    | { readonly type: 'cgroup'; readonly cgroupId: bigint; readonly attachType: number }
    | { readonly type: 'iter'; readonly target: string; readonly mapId: number }
    | { readonly type: 'netns'; readonly netnsInode: number; readonly attachType: number }
    | { readonly type: 'xdp'; readonly interfaceIndex: number }
    | { readonly type: 'struct_ops'; readonly mapId: number }
    | {
        readonly type: 'netfilter';
        readonly protocolFamily: number;
        readonly hook: number;
        readonly priority: number;
      }
    | {
        readonly type: 'tcx' | 'netkit';
        readonly interfaceIndex: number;
        readonly attachType: number;
      }
    | { readonly type: 'sockmap'; readonly mapId: number; readonly attachType: number }
    | {
        readonly type: 'kprobe_multi';
        readonly functions: number;
        readonly missed: bigint;
        readonly onReturn: boolean;
      }
    | {
        readonly type: 'uprobe_multi';
        readonly path: string;
        readonly offsets: number;
        readonly pid: number;
        readonly onReturn: boolean;
      }
    | { readonly type: 'perf_event'; readonly eventType: number; readonly name: string }
    | {
        readonly type: 'other';
        /** `BPF_LINK_TYPE_*`, of a type that this version does not know. */
        readonly number: number;
      }
  );

const { LinkType } = enums;
const TEXT_BYTES = 256;
const PATH_BYTES = 4096;
const RETURN_FLAG = 1;

type Asker = (session: GuestKernel, link: Ref<'link'>, about?: BpfOptions) => Promise<object>;

/** How links of each type are asked for what only they have. */
const details: { readonly [type: number]: Asker } = {
  [LinkType.BPF_LINK_TYPE_RAW_TRACEPOINT]: async (session, bpf_fd, about) => {
    const values = { bpf_fd, info: { tp_name_len: TEXT_BYTES } };
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_RAW_TRACEPOINT, values, about);
    return { type: 'raw_tracepoint', tracepoint: info.tp_name ?? '' };
  },
  [LinkType.BPF_LINK_TYPE_TRACING]: async (session, bpf_fd, about) => {
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_TRACING, { bpf_fd }, about);
    return {
      type: 'tracing',
      attachType: info.attach_type,
      targetObjectId: info.target_obj_id,
      targetBtfId: info.target_btf_id,
    };
  },
  [LinkType.BPF_LINK_TYPE_CGROUP]: async (session, bpf_fd, about) => {
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_CGROUP, { bpf_fd }, about);
    return { type: 'cgroup', cgroupId: info.cgroup_id, attachType: info.attach_type };
  },
  [LinkType.BPF_LINK_TYPE_ITER]: async (session, bpf_fd, about) => {
    const values = { bpf_fd, info: { target_name_len: TEXT_BYTES } };
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_ITER, values, about);
    return { type: 'iter', target: info.target_name ?? '', mapId: info.map_id };
  },
  [LinkType.BPF_LINK_TYPE_NETNS]: async (session, bpf_fd, about) => {
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_NETNS, { bpf_fd }, about);
    return { type: 'netns', netnsInode: info.netns_ino, attachType: info.attach_type };
  },
  [LinkType.BPF_LINK_TYPE_XDP]: async (session, bpf_fd, about) => {
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_XDP, { bpf_fd }, about);
    return { type: 'xdp', interfaceIndex: info.ifindex };
  },
  [LinkType.BPF_LINK_TYPE_STRUCT_OPS]: async (session, bpf_fd, about) => {
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_STRUCT_OPS, { bpf_fd }, about);
    return { type: 'struct_ops', mapId: info.map_id };
  },
  [LinkType.BPF_LINK_TYPE_NETFILTER]: async (session, bpf_fd, about) => {
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_NETFILTER, { bpf_fd }, about);
    const { pf: protocolFamily, hooknum: hook, priority } = info;
    return { type: 'netfilter', protocolFamily, hook, priority };
  },
  [LinkType.BPF_LINK_TYPE_TCX]: async (session, bpf_fd, about) => {
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_TCX, { bpf_fd }, about);
    return { type: 'tcx', interfaceIndex: info.ifindex, attachType: info.attach_type };
  },
  [LinkType.BPF_LINK_TYPE_NETKIT]: async (session, bpf_fd, about) => {
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_NETKIT, { bpf_fd }, about);
    return { type: 'netkit', interfaceIndex: info.ifindex, attachType: info.attach_type };
  },
  [LinkType.BPF_LINK_TYPE_SOCKMAP]: async (session, bpf_fd, about) => {
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_SOCKMAP, { bpf_fd }, about);
    return { type: 'sockmap', mapId: info.map_id, attachType: info.attach_type };
  },
  [LinkType.BPF_LINK_TYPE_KPROBE_MULTI]: async (session, bpf_fd, about) => {
    const row = rows.OBJ_GET_INFO_BY_FD_LINK_KPROBE_MULTI;
    const { info } = await session.bpf(row, { bpf_fd }, about);
    return {
      type: 'kprobe_multi',
      functions: info.count,
      missed: info.missed,
      onReturn: (info.flags & RETURN_FLAG) !== 0,
    };
  },
  [LinkType.BPF_LINK_TYPE_UPROBE_MULTI]: async (session, bpf_fd, about) => {
    const row = rows.OBJ_GET_INFO_BY_FD_LINK_UPROBE_MULTI;
    const values = { bpf_fd, info: { path_size: PATH_BYTES } };
    const { info } = await session.bpf(row, values, about);
    return {
      type: 'uprobe_multi',
      path: info.path ?? '',
      offsets: info.count,
      pid: info.pid,
      onReturn: (info.flags & RETURN_FLAG) !== 0,
    };
  },
  [LinkType.BPF_LINK_TYPE_PERF_EVENT]: async (session, bpf_fd, about) => {
    const values = { bpf_fd, info: { name_len: TEXT_BYTES } };
    const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_PERF_EVENT, values, about);
    return { type: 'perf_event', eventType: info.perf_type, name: info.name ?? '' };
  },
};

/** Asks about a link (BPF_OBJ_GET_INFO_BY_FD, bpf_link_get_info_by_fd()). */
export async function readLinkInfo(
  session: GuestKernel,
  link: Ref<'link'>,
  about?: BpfOptions,
): Promise<LinkInfo> {
  const { info } = await session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK, { bpf_fd: link }, about);
  const common: CommonLinkInfo = { id: info.id, programId: info.prog_id };
  const ask = details[info.type];
  if (ask === undefined) return { ...common, type: 'other', number: info.type };
  return { ...common, ...(await ask(session, link, about)) } as LinkInfo;
}
