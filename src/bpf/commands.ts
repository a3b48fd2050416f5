/* One row for each shape of a bpf(2) command. Kernel source: include/uapi/linux/bpf.h. */
import {
  AttachFlag,
  AttachType,
  Cmd,
  LinkType,
  MapType,
  ObjectFlag,
  PerfEventType,
  ProgType,
  UprobeFlag,
} from './enums.js';
import * as infos from './infos.js';
import {
  attaches,
  batchToken,
  buffer,
  changes,
  chars,
  command,
  cString,
  fd,
  fdIf,
  fds,
  type IterTarget,
  inout,
  mapKey,
  mapValue,
  member,
  nullable,
  out,
  pointsTo,
  type Release,
  runs,
  type Struct,
  s32,
  self,
  since,
  sizedBy,
  sizedByOrUnlimited,
  string,
  strings,
  times,
  u32,
  u64,
  usedFds,
} from './rows.js';

const { BPF_F_TOKEN_FD, BPF_F_VTYPE_BTF_OBJ_FD, BPF_F_PATH_FD } = ObjectFlag;
const { BPF_F_REPLACE, BPF_F_ID } = AttachFlag;
const { BPF_F_UPROBE_MULTI_PATH_FD } = UprobeFlag;
const PATH_MAX = 4096;

export const MAP_CREATE = command(
  'BPF_MAP_CREATE',
  Cmd.BPF_MAP_CREATE,
  'fd',
  {
    map_type: u32(0),
    key_size: u32(4),
    value_size: u32(8),
    max_entries: u32(12),
    map_flags: u32(16),
    inner_map_fd: fdIf('nonzero', 20, 'map'),
    numa_node: u32(24),
    map_name: chars(28, 16),
    map_ifindex: u32(44),
    btf_fd: fdIf('nonzero', 48, 'btf'),
    btf_key_type_id: u32(52),
    btf_value_type_id: u32(56),
    btf_vmlinux_value_type_id: u32(60),
    // NEED: for an ARENA this is an address in the caller, where the caller will map the arena.
    map_extra: since('5.16', u64(64)),
    value_type_btf_obj_fd: since(
      '6.9',
      fdIf({ flag: ['map_flags', BPF_F_VTYPE_BTF_OBJ_FD] }, 72, 'btf'),
    ),
    map_token_fd: since('6.9', fdIf({ flag: ['map_flags', BPF_F_TOKEN_FD] }, 76, 'token')),
    excl_prog_hash: since('6.18', nullable(buffer(80, 'in', sizedBy('excl_prog_hash_size')))),
    excl_prog_hash_size: since('6.18', u32(88)),
  },
  { makes: 'map' },
);

export const MAP_LOOKUP_ELEM = command('BPF_MAP_LOOKUP_ELEM', Cmd.BPF_MAP_LOOKUP_ELEM, 'status', {
  map_fd: fd(0, 'map'),
  key: buffer(8, 'in', mapKey('map_fd'), 'mapKeys'),
  value: buffer(16, 'out', mapValue('map_fd', 'flags')),
  flags: u64(24),
});

export const MAP_LOOKUP_ELEM_BLOOM_FILTER = command(
  'BPF_MAP_LOOKUP_ELEM',
  Cmd.BPF_MAP_LOOKUP_ELEM,
  'status',
  {
    map_fd: fd(0, 'map'),
    key: buffer(8, 'in', mapKey('map_fd')),
    value: buffer(16, 'in', mapValue('map_fd')),
    flags: u64(24),
  },
  { when: { mapType: ['map_fd', [MapType.BPF_MAP_TYPE_BLOOM_FILTER]] } },
);

export const MAP_UPDATE_ELEM = command('BPF_MAP_UPDATE_ELEM', Cmd.BPF_MAP_UPDATE_ELEM, 'status', {
  map_fd: changes(fd(0, 'map')),
  key: buffer(8, 'in', mapKey('map_fd'), 'mapKeys'),
  value: buffer(16, 'in', mapValue('map_fd', 'flags'), 'mapValues'),
  flags: u64(24),
});

export const MAP_DELETE_ELEM = command('BPF_MAP_DELETE_ELEM', Cmd.BPF_MAP_DELETE_ELEM, 'status', {
  map_fd: changes(fd(0, 'map')),
  key: buffer(8, 'in', mapKey('map_fd'), 'mapKeys'),
});

export const MAP_GET_NEXT_KEY = command(
  'BPF_MAP_GET_NEXT_KEY',
  Cmd.BPF_MAP_GET_NEXT_KEY,
  'status',
  {
    map_fd: fd(0, 'map'),
    key: nullable(buffer(8, 'in', mapKey('map_fd'))),
    next_key: buffer(16, 'out', mapKey('map_fd')),
  },
);

export const MAP_LOOKUP_AND_DELETE_ELEM = command(
  'BPF_MAP_LOOKUP_AND_DELETE_ELEM',
  Cmd.BPF_MAP_LOOKUP_AND_DELETE_ELEM,
  'status',
  {
    map_fd: changes(fd(0, 'map')),
    key: buffer(8, 'in', mapKey('map_fd'), 'mapKeys'),
    value: buffer(16, 'out', mapValue('map_fd', 'flags')),
    flags: u64(24),
  },
);

export const MAP_FREEZE = command('BPF_MAP_FREEZE', Cmd.BPF_MAP_FREEZE, 'status', {
  map_fd: changes(fd(0, 'map')),
});

const lookupBatch = {
  in_batch: nullable(buffer(0, 'in', batchToken('map_fd'))),
  out_batch: buffer(8, 'out', batchToken('map_fd')),
  keys: buffer(16, 'out', mapKey('map_fd', 'count')),
  values: buffer(24, 'out', mapValue('map_fd', 'elem_flags', 'count')),
  count: inout(u32(32)),
  map_fd: fd(36, 'map'),
  elem_flags: u64(40),
  flags: u64(48),
};

export const MAP_LOOKUP_BATCH = command(
  'BPF_MAP_LOOKUP_BATCH',
  Cmd.BPF_MAP_LOOKUP_BATCH,
  'status',
  lookupBatch,
  { arm: 'batch' },
);

export const MAP_LOOKUP_AND_DELETE_BATCH = command(
  'BPF_MAP_LOOKUP_AND_DELETE_BATCH',
  Cmd.BPF_MAP_LOOKUP_AND_DELETE_BATCH,
  'status',
  { ...lookupBatch, map_fd: changes(fd(36, 'map')) },
  { arm: 'batch' },
);

export const MAP_UPDATE_BATCH = command(
  'BPF_MAP_UPDATE_BATCH',
  Cmd.BPF_MAP_UPDATE_BATCH,
  'status',
  {
    keys: buffer(16, 'in', mapKey('map_fd', 'count'), 'mapKeys'),
    values: buffer(24, 'in', mapValue('map_fd', 'elem_flags', 'count'), 'mapValues'),
    count: inout(u32(32)),
    map_fd: changes(fd(36, 'map')),
    elem_flags: u64(40),
    flags: u64(48),
  },
  { arm: 'batch' },
);

export const MAP_DELETE_BATCH = command(
  'BPF_MAP_DELETE_BATCH',
  Cmd.BPF_MAP_DELETE_BATCH,
  'status',
  {
    keys: buffer(16, 'in', mapKey('map_fd', 'count'), 'mapKeys'),
    count: inout(u32(32)),
    map_fd: changes(fd(36, 'map')),
    elem_flags: u64(40),
    flags: u64(48),
  },
  { arm: 'batch' },
);

export const PROG_LOAD = command(
  'BPF_PROG_LOAD',
  Cmd.BPF_PROG_LOAD,
  'fd',
  {
    prog_type: u32(0),
    insn_cnt: u32(4),
    insns: buffer(8, 'in', times('insn_cnt', 8), 'instructions'),
    license: string(16, 'in', cString(128)),
    log_level: u32(24),
    log_size: u32(28),
    log_buf: string(32, 'out', sizedBy('log_size')),
    kern_version: u32(40),
    prog_flags: u32(44),
    prog_name: chars(48, 16),
    prog_ifindex: u32(64),
    expected_attach_type: u32(68),
    prog_btf_fd: fdIf('nonzero', 72, 'btf'),
    // With E2BIG the kernel writes the size that it supports to one of the three *_rec_size.
    func_info_rec_size: inout(since('5.0', u32(76))),
    func_info: nullable(buffer(80, 'in', times('func_info_cnt', 'func_info_rec_size'))),
    func_info_cnt: u32(88),
    line_info_rec_size: inout(since('5.0', u32(92))),
    line_info: nullable(buffer(96, 'in', times('line_info_cnt', 'line_info_rec_size'))),
    line_info_cnt: u32(104),
    attach_btf_id: u32(108),
    // A tracing program watches the target, but a program of this type replaces one of its
    // functions.
    attach_prog_fd: changes(fdIf('nonzero', 112, 'prog'), {
      value: ['prog_type', [ProgType.BPF_PROG_TYPE_EXT]],
    }),
    attach_btf_obj_fd: since('5.11', fdIf('nonzero', 112, 'btf')),
    core_relo_cnt: since('5.17', u32(116)),
    fd_array: since('5.14', nullable(changes(fds(120, usedFds('fd_array_cnt'), 'map', 'btf')))),
    core_relos: since(
      '5.17',
      nullable(buffer(128, 'in', times('core_relo_cnt', 'core_relo_rec_size'))),
    ),
    core_relo_rec_size: inout(since('5.17', u32(136))),
    log_true_size: out(since('6.4', u32(140))),
    prog_token_fd: since('6.9', fdIf({ flag: ['prog_flags', BPF_F_TOKEN_FD] }, 144, 'token')),
    fd_array_cnt: since('6.14', u32(148)),
    signature: since('6.18', nullable(buffer(152, 'in', sizedBy('signature_size')))),
    signature_size: since('6.18', u32(160)),
    keyring_id: since('6.18', s32(164)),
  },
  { makes: 'prog' },
);

/**
 * The loader program of a light skeleton. In the guest it makes bpf(2) calls of its own. They use
 * pointers of this process, and make descriptors that nobody here would have.
 */
export const PROG_LOAD_LOADER = command(
  'BPF_PROG_LOAD',
  Cmd.BPF_PROG_LOAD,
  'fd',
  { prog_type: u32(0), prog_name: chars(48, 16) },
  {
    makes: 'prog',
    stays: {
      what: 'the loader of a light skeleton',
      why: 'what it makes in the guest has no handle here; generate the skeleton without -L',
    },
    when: {
      value: ['prog_type', [ProgType.BPF_PROG_TYPE_SYSCALL]],
      text: ['prog_name', '__loader.prog'],
    },
  },
);

export const OBJ_PIN = command('BPF_OBJ_PIN', Cmd.BPF_OBJ_PIN, 'status', {
  pathname: string(0, 'in', cString(PATH_MAX)),
  // A pinned object outlives its maker, and can be opened for writing.
  bpf_fd: changes(fd(8, 'map', 'prog', 'link')),
  file_flags: u32(12),
  path_fd: since('6.5', fdIf({ flag: ['file_flags', BPF_F_PATH_FD] }, 16, 'directory')),
});

export const OBJ_GET = command(
  'BPF_OBJ_GET',
  Cmd.BPF_OBJ_GET,
  'fd',
  {
    pathname: string(0, 'in', cString(PATH_MAX)),
    bpf_fd: u32(8),
    file_flags: u32(12),
    path_fd: since('6.5', fdIf({ flag: ['file_flags', BPF_F_PATH_FD] }, 16, 'directory')),
  },
  { finds: true },
);

const attach = {
  attach_bpf_fd: attaches(fd(4, 'prog')),
  attach_type: u32(8),
  attach_flags: u32(12),
  replace_bpf_fd: changes(fdIf({ flag: ['attach_flags', BPF_F_REPLACE] }, 16, 'prog')),
  relative_fd: since('6.6', fdIf({ unless: ['attach_flags', BPF_F_ID] }, 20, 'prog', 'link')),
  relative_id: since('6.6', u32(20)),
  expected_revision: since('6.6', u64(24)),
};
const detach = { ...attach, attach_bpf_fd: changes(fdIf('nonzero', 4, 'prog')) };

// The attach type decides the kind of a program's target.
const interfaceAttachTypes = [
  AttachType.BPF_TCX_INGRESS,
  AttachType.BPF_TCX_EGRESS,
  AttachType.BPF_NETKIT_PRIMARY,
  AttachType.BPF_NETKIT_PEER,
];
const cgroupAttachTypes = [
  AttachType.BPF_CGROUP_INET_INGRESS,
  AttachType.BPF_CGROUP_INET_EGRESS,
  AttachType.BPF_CGROUP_INET_SOCK_CREATE,
  AttachType.BPF_CGROUP_SOCK_OPS,
  AttachType.BPF_CGROUP_DEVICE,
  AttachType.BPF_CGROUP_INET4_BIND,
  AttachType.BPF_CGROUP_INET6_BIND,
  AttachType.BPF_CGROUP_INET4_CONNECT,
  AttachType.BPF_CGROUP_INET6_CONNECT,
  AttachType.BPF_CGROUP_INET4_POST_BIND,
  AttachType.BPF_CGROUP_INET6_POST_BIND,
  AttachType.BPF_CGROUP_UDP4_SENDMSG,
  AttachType.BPF_CGROUP_UDP6_SENDMSG,
  AttachType.BPF_CGROUP_SYSCTL,
  AttachType.BPF_CGROUP_UDP4_RECVMSG,
  AttachType.BPF_CGROUP_UDP6_RECVMSG,
  AttachType.BPF_CGROUP_GETSOCKOPT,
  AttachType.BPF_CGROUP_SETSOCKOPT,
  AttachType.BPF_CGROUP_INET4_GETPEERNAME,
  AttachType.BPF_CGROUP_INET6_GETPEERNAME,
  AttachType.BPF_CGROUP_INET4_GETSOCKNAME,
  AttachType.BPF_CGROUP_INET6_GETSOCKNAME,
  AttachType.BPF_CGROUP_INET_SOCK_RELEASE,
  AttachType.BPF_LSM_CGROUP,
  AttachType.BPF_CGROUP_UNIX_CONNECT,
  AttachType.BPF_CGROUP_UNIX_SENDMSG,
  AttachType.BPF_CGROUP_UNIX_RECVMSG,
  AttachType.BPF_CGROUP_UNIX_GETPEERNAME,
  AttachType.BPF_CGROUP_UNIX_GETSOCKNAME,
];

const sockmapAttachTypes = [
  AttachType.BPF_SK_SKB_STREAM_PARSER,
  AttachType.BPF_SK_SKB_STREAM_VERDICT,
  AttachType.BPF_SK_SKB_VERDICT,
  AttachType.BPF_SK_MSG_VERDICT,
];
const attachedElsewhere: readonly number[] = [
  ...cgroupAttachTypes,
  ...interfaceAttachTypes,
  ...sockmapAttachTypes,
  AttachType.BPF_LIRC_MODE2,
  AttachType.BPF_FLOW_DISSECTOR,
];
const onlyLinks = Object.values(AttachType).filter((type) => !attachedElsewhere.includes(type));
const onCgroup = { when: { value: ['attach_type', cgroupAttachTypes] } } as const;
const onInterface = { when: { value: ['attach_type', interfaceAttachTypes] } } as const;
const onSockmap = { when: { value: ['attach_type', sockmapAttachTypes] } } as const;
const onLirc = { when: { value: ['attach_type', [AttachType.BPF_LIRC_MODE2]] } } as const;
const onNetns = { when: { value: ['attach_type', [AttachType.BPF_FLOW_DISSECTOR]] } } as const;
const onNothing = { when: { value: ['attach_type', onlyLinks] } } as const;

export const PROG_ATTACH_CGROUP = command(
  'BPF_PROG_ATTACH',
  Cmd.BPF_PROG_ATTACH,
  'status',
  { target_fd: fd(0, 'cgroup'), ...attach },
  onCgroup,
);
export const PROG_ATTACH_INTERFACE = command(
  'BPF_PROG_ATTACH',
  Cmd.BPF_PROG_ATTACH,
  'status',
  { target_ifindex: since('6.6', u32(0)), ...attach },
  onInterface,
);
export const PROG_ATTACH_SOCKMAP = command(
  'BPF_PROG_ATTACH',
  Cmd.BPF_PROG_ATTACH,
  'status',
  { target_fd: changes(fd(0, 'map')), ...attach },
  onSockmap,
);
export const PROG_ATTACH_LIRC = command(
  'BPF_PROG_ATTACH',
  Cmd.BPF_PROG_ATTACH,
  'status',
  { target_fd: fd(0, 'lirc'), ...attach },
  onLirc,
);
/**
 * The network namespace is the one of the calling process. A descriptor of a namespace is refused.
 */
export const PROG_ATTACH_NETNS = command(
  'BPF_PROG_ATTACH',
  Cmd.BPF_PROG_ATTACH,
  'status',
  { target_fd: fdIf('nonzero', 0, 'netns'), ...attach },
  onNetns,
);
/** Attach types that only links have. The kernel refuses them here. */
export const PROG_ATTACH_OTHER = command(
  'BPF_PROG_ATTACH',
  Cmd.BPF_PROG_ATTACH,
  'status',
  { target_fd: fdIf('nonzero', 0, 'file'), ...attach },
  onNothing,
);

export const PROG_DETACH_CGROUP = command(
  'BPF_PROG_DETACH',
  Cmd.BPF_PROG_DETACH,
  'status',
  { target_fd: fd(0, 'cgroup'), ...detach },
  onCgroup,
);
export const PROG_DETACH_INTERFACE = command(
  'BPF_PROG_DETACH',
  Cmd.BPF_PROG_DETACH,
  'status',
  { target_ifindex: since('6.6', u32(0)), ...detach },
  onInterface,
);
export const PROG_DETACH_SOCKMAP = command(
  'BPF_PROG_DETACH',
  Cmd.BPF_PROG_DETACH,
  'status',
  { target_fd: changes(fd(0, 'map')), ...detach },
  onSockmap,
);
export const PROG_DETACH_LIRC = command(
  'BPF_PROG_DETACH',
  Cmd.BPF_PROG_DETACH,
  'status',
  { target_fd: fd(0, 'lirc'), ...detach },
  onLirc,
);
/**
 * The network namespace is the one of the calling process. A descriptor of a namespace is refused.
 */
export const PROG_DETACH_NETNS = command(
  'BPF_PROG_DETACH',
  Cmd.BPF_PROG_DETACH,
  'status',
  { target_fd: fdIf('nonzero', 0, 'netns'), ...detach },
  onNetns,
);
/** Attach types that only links have. The kernel refuses them here. */
export const PROG_DETACH_OTHER = command(
  'BPF_PROG_DETACH',
  Cmd.BPF_PROG_DETACH,
  'status',
  { target_fd: fdIf('nonzero', 0, 'file'), ...detach },
  onNothing,
);

const query = {
  attach_type: u32(4),
  query_flags: u32(8),
  attach_flags: out(u32(12)),
  prog_ids: buffer(16, 'out', times('prog_cnt', 4)),
  prog_cnt: inout(u32(24)),
  prog_attach_flags: since('6.0', nullable(buffer(32, 'out', times('prog_cnt', 4)))),
  link_ids: since('6.6', nullable(buffer(40, 'out', times('prog_cnt', 4)))),
  link_attach_flags: since('6.6', nullable(buffer(48, 'out', times('prog_cnt', 4)))),
  revision: out(since('6.6', u64(56))),
};

export const PROG_QUERY_CGROUP = command(
  'BPF_PROG_QUERY',
  Cmd.BPF_PROG_QUERY,
  'status',
  { target_fd: fd(0, 'cgroup'), ...query },
  { arm: 'query', ...onCgroup },
);
export const PROG_QUERY_INTERFACE = command(
  'BPF_PROG_QUERY',
  Cmd.BPF_PROG_QUERY,
  'status',
  { target_ifindex: since('6.6', u32(0)), ...query },
  { arm: 'query', ...onInterface },
);
export const PROG_QUERY_SOCKMAP = command(
  'BPF_PROG_QUERY',
  Cmd.BPF_PROG_QUERY,
  'status',
  { target_fd: fd(0, 'map'), ...query },
  { arm: 'query', ...onSockmap },
);
export const PROG_QUERY_LIRC = command(
  'BPF_PROG_QUERY',
  Cmd.BPF_PROG_QUERY,
  'status',
  { target_fd: fd(0, 'lirc'), ...query },
  { arm: 'query', ...onLirc },
);
export const PROG_QUERY_NETNS = command(
  'BPF_PROG_QUERY',
  Cmd.BPF_PROG_QUERY,
  'status',
  { target_fd: fd(0, 'netns'), ...query },
  {
    arm: 'query',
    when: { value: ['attach_type', [AttachType.BPF_FLOW_DISSECTOR, AttachType.BPF_SK_LOOKUP]] },
  },
);
/** Attach types whose programs the kernel attaches only by links. */
export const PROG_QUERY_OTHER = command(
  'BPF_PROG_QUERY',
  Cmd.BPF_PROG_QUERY,
  'status',
  { target_fd: fdIf('nonzero', 0, 'file'), ...query },
  { arm: 'query', ...onNothing },
);

const task = {
  flags: u32(8),
  buf_len: inout(u32(12)),
  buf: string(16, 'out', sizedBy('buf_len')),
  prog_id: out(u32(24)),
  fd_type: out(u32(28)),
  probe_offset: out(u64(32)),
  probe_addr: out(u64(40)),
};

/** Asks about a descriptor of the session's own process. */
export const TASK_FD_QUERY_OWN = command(
  'BPF_TASK_FD_QUERY',
  Cmd.BPF_TASK_FD_QUERY,
  'status',
  { pid: self(0), fd: fd(4, 'link', 'perf_event'), ...task },
  { arm: 'task_fd_query', when: { own: 'pid' } },
);
/** Asks about a descriptor of any process of the guest. Both numbers are the guest's. */
export const TASK_FD_QUERY = command(
  'BPF_TASK_FD_QUERY',
  Cmd.BPF_TASK_FD_QUERY,
  'status',
  { pid: u32(0), fd: u32(4), ...task },
  { arm: 'task_fd_query' },
);

export const PROG_TEST_RUN = command(
  'BPF_PROG_TEST_RUN',
  Cmd.BPF_PROG_TEST_RUN,
  'status',
  {
    prog_fd: runs(fd(0, 'prog')),
    retval: out(u32(4)),
    data_size_in: u32(8),
    data_size_out: inout(u32(12)),
    data_in: nullable(buffer(16, 'in', sizedBy('data_size_in'))),
    data_out: buffer(24, 'out', sizedByOrUnlimited('data_size_out', 'data_size_in')),
    repeat: u32(32),
    duration: out(u32(36)),
    ctx_size_in: u32(40),
    ctx_size_out: inout(u32(44)),
    ctx_in: nullable(buffer(48, 'inout', sizedBy('ctx_size_in'))),
    ctx_out: buffer(56, 'out', sizedBy('ctx_size_out')),
    flags: since('5.11', u32(64)),
    cpu: since('5.11', u32(68)),
    batch_size: since('5.18', u32(72)),
  },
  { arm: 'test' },
);

const nextId = { start_id: u32(0), next_id: out(u32(4)), open_flags: u32(8) };

export const PROG_GET_NEXT_ID = command(
  'BPF_PROG_GET_NEXT_ID',
  Cmd.BPF_PROG_GET_NEXT_ID,
  'status',
  nextId,
);
export const MAP_GET_NEXT_ID = command(
  'BPF_MAP_GET_NEXT_ID',
  Cmd.BPF_MAP_GET_NEXT_ID,
  'status',
  nextId,
);
export const BTF_GET_NEXT_ID = command(
  'BPF_BTF_GET_NEXT_ID',
  Cmd.BPF_BTF_GET_NEXT_ID,
  'status',
  nextId,
);
export const LINK_GET_NEXT_ID = command(
  'BPF_LINK_GET_NEXT_ID',
  Cmd.BPF_LINK_GET_NEXT_ID,
  'status',
  nextId,
);

const byId = {
  open_flags: u32(8),
  fd_by_id_token_fd: since('6.16', fdIf({ flag: ['open_flags', BPF_F_TOKEN_FD] }, 12, 'token')),
};

export const PROG_GET_FD_BY_ID = command(
  'BPF_PROG_GET_FD_BY_ID',
  Cmd.BPF_PROG_GET_FD_BY_ID,
  'fd',
  { prog_id: u32(0), ...byId },
  { makes: 'prog', finds: true },
);
export const MAP_GET_FD_BY_ID = command(
  'BPF_MAP_GET_FD_BY_ID',
  Cmd.BPF_MAP_GET_FD_BY_ID,
  'fd',
  { map_id: u32(0), ...byId },
  { makes: 'map', finds: true },
);
export const BTF_GET_FD_BY_ID = command(
  'BPF_BTF_GET_FD_BY_ID',
  Cmd.BPF_BTF_GET_FD_BY_ID,
  'fd',
  { btf_id: u32(0), ...byId },
  { makes: 'btf' },
);
export const LINK_GET_FD_BY_ID = command(
  'BPF_LINK_GET_FD_BY_ID',
  Cmd.BPF_LINK_GET_FD_BY_ID,
  'fd',
  { link_id: u32(0) },
  { makes: 'link', finds: true },
);

const notABpfObject = [
  'none',
  'iter',
  'stats',
  'perf_event',
  'cgroup',
  'netns',
  'directory',
  'pidfd',
  'lirc',
  'file',
] as const;
const info = <S extends Struct>(to: S) => ({
  info_len: inout(u32(4)),
  info: pointsTo(8, 'inout', to, sizedBy('info_len')),
});
const linkInfo = <S extends Struct>(to: S, type: number) =>
  command(
    'BPF_OBJ_GET_INFO_BY_FD',
    Cmd.BPF_OBJ_GET_INFO_BY_FD,
    'status',
    { bpf_fd: fd(0, 'link'), ...info(to) },
    { arm: 'info', when: { linkType: ['bpf_fd', [type]] } },
  );

export const OBJ_GET_INFO_BY_FD_PROG = command(
  'BPF_OBJ_GET_INFO_BY_FD',
  Cmd.BPF_OBJ_GET_INFO_BY_FD,
  'status',
  { bpf_fd: fd(0, 'prog'), ...info(infos.PROG_INFO) },
  { arm: 'info', when: { fdKind: ['bpf_fd', ['prog']] } },
);
export const OBJ_GET_INFO_BY_FD_MAP = command(
  'BPF_OBJ_GET_INFO_BY_FD',
  Cmd.BPF_OBJ_GET_INFO_BY_FD,
  'status',
  { bpf_fd: fd(0, 'map'), ...info(infos.MAP_INFO) },
  { arm: 'info', when: { fdKind: ['bpf_fd', ['map']] } },
);
export const OBJ_GET_INFO_BY_FD_BTF = command(
  'BPF_OBJ_GET_INFO_BY_FD',
  Cmd.BPF_OBJ_GET_INFO_BY_FD,
  'status',
  { bpf_fd: fd(0, 'btf'), ...info(infos.BTF_INFO) },
  { arm: 'info', when: { fdKind: ['bpf_fd', ['btf']] } },
);
export const OBJ_GET_INFO_BY_FD_TOKEN = command(
  'BPF_OBJ_GET_INFO_BY_FD',
  Cmd.BPF_OBJ_GET_INFO_BY_FD,
  'status',
  { bpf_fd: fd(0, 'token'), ...info(infos.TOKEN_INFO) },
  { arm: 'info', when: { fdKind: ['bpf_fd', ['token']] } },
);
/** The kernel refuses an object that does not exist or has no info, without a look at `info`. */
export const OBJ_GET_INFO_BY_FD_OTHER = command(
  'BPF_OBJ_GET_INFO_BY_FD',
  Cmd.BPF_OBJ_GET_INFO_BY_FD,
  'status',
  {
    bpf_fd: fd(0, 'prog', 'map', 'btf', 'link', 'token'),
    info_len: inout(u32(4)),
    info: nullable(buffer(8, 'in', sizedBy('info_len'))),
  },
  { arm: 'info', when: { fdKind: ['bpf_fd', notABpfObject] } },
);
/**
 * The fields that all kinds of links have. `type` decides which of the shapes below to ask with.
 */
export const OBJ_GET_INFO_BY_FD_LINK = command(
  'BPF_OBJ_GET_INFO_BY_FD',
  Cmd.BPF_OBJ_GET_INFO_BY_FD,
  'status',
  { bpf_fd: fd(0, 'link'), ...info(infos.LINK_INFO) },
  { arm: 'info', when: { linkType: ['bpf_fd', [LinkType.BPF_LINK_TYPE_UNSPEC]] } },
);
export const OBJ_GET_INFO_BY_FD_LINK_RAW_TRACEPOINT = linkInfo(
  infos.LINK_INFO_RAW_TRACEPOINT,
  LinkType.BPF_LINK_TYPE_RAW_TRACEPOINT,
);
export const OBJ_GET_INFO_BY_FD_LINK_TRACING = linkInfo(
  infos.LINK_INFO_TRACING,
  LinkType.BPF_LINK_TYPE_TRACING,
);
export const OBJ_GET_INFO_BY_FD_LINK_CGROUP = linkInfo(
  infos.LINK_INFO_CGROUP,
  LinkType.BPF_LINK_TYPE_CGROUP,
);
export const OBJ_GET_INFO_BY_FD_LINK_ITER = linkInfo(
  infos.LINK_INFO_ITER,
  LinkType.BPF_LINK_TYPE_ITER,
);
export const OBJ_GET_INFO_BY_FD_LINK_NETNS = linkInfo(
  infos.LINK_INFO_NETNS,
  LinkType.BPF_LINK_TYPE_NETNS,
);
export const OBJ_GET_INFO_BY_FD_LINK_XDP = linkInfo(
  infos.LINK_INFO_XDP,
  LinkType.BPF_LINK_TYPE_XDP,
);
export const OBJ_GET_INFO_BY_FD_LINK_STRUCT_OPS = linkInfo(
  infos.LINK_INFO_STRUCT_OPS,
  LinkType.BPF_LINK_TYPE_STRUCT_OPS,
);
export const OBJ_GET_INFO_BY_FD_LINK_NETFILTER = linkInfo(
  infos.LINK_INFO_NETFILTER,
  LinkType.BPF_LINK_TYPE_NETFILTER,
);
export const OBJ_GET_INFO_BY_FD_LINK_TCX = linkInfo(
  infos.LINK_INFO_TCX,
  LinkType.BPF_LINK_TYPE_TCX,
);
export const OBJ_GET_INFO_BY_FD_LINK_NETKIT = linkInfo(
  infos.LINK_INFO_NETKIT,
  LinkType.BPF_LINK_TYPE_NETKIT,
);
export const OBJ_GET_INFO_BY_FD_LINK_SOCKMAP = linkInfo(
  infos.LINK_INFO_SOCKMAP,
  LinkType.BPF_LINK_TYPE_SOCKMAP,
);
export const OBJ_GET_INFO_BY_FD_LINK_KPROBE_MULTI = linkInfo(
  infos.LINK_INFO_KPROBE_MULTI,
  LinkType.BPF_LINK_TYPE_KPROBE_MULTI,
);
export const OBJ_GET_INFO_BY_FD_LINK_UPROBE_MULTI = linkInfo(
  infos.LINK_INFO_UPROBE_MULTI,
  LinkType.BPF_LINK_TYPE_UPROBE_MULTI,
);
export const OBJ_GET_INFO_BY_FD_LINK_TRACING_MULTI = linkInfo(
  infos.LINK_INFO_TRACING_MULTI,
  LinkType.BPF_LINK_TYPE_TRACING_MULTI,
);
const perfInfo = <S extends Struct>(to: S, ...types: number[]) =>
  command(
    'BPF_OBJ_GET_INFO_BY_FD',
    Cmd.BPF_OBJ_GET_INFO_BY_FD,
    'status',
    { bpf_fd: fd(0, 'link'), ...info(to) },
    { arm: 'info', first: true, when: { perfType: ['bpf_fd', types] } },
  );
export const OBJ_GET_INFO_BY_FD_LINK_PERF_UPROBE = perfInfo(
  infos.LINK_INFO_PERF_UPROBE,
  PerfEventType.BPF_PERF_EVENT_UPROBE,
  PerfEventType.BPF_PERF_EVENT_URETPROBE,
);
export const OBJ_GET_INFO_BY_FD_LINK_PERF_KPROBE = perfInfo(
  infos.LINK_INFO_PERF_KPROBE,
  PerfEventType.BPF_PERF_EVENT_KPROBE,
  PerfEventType.BPF_PERF_EVENT_KRETPROBE,
);
export const OBJ_GET_INFO_BY_FD_LINK_PERF_TRACEPOINT = perfInfo(
  infos.LINK_INFO_PERF_TRACEPOINT,
  PerfEventType.BPF_PERF_EVENT_TRACEPOINT,
);
export const OBJ_GET_INFO_BY_FD_LINK_PERF_OTHER = perfInfo(
  infos.LINK_INFO_PERF_OTHER,
  PerfEventType.BPF_PERF_EVENT_EVENT,
);
/** The link of a perf event of an unknown kind. */
export const OBJ_GET_INFO_BY_FD_LINK_PERF_EVENT = linkInfo(
  infos.LINK_INFO_PERF_EVENT,
  LinkType.BPF_LINK_TYPE_PERF_EVENT,
);

export const RAW_TRACEPOINT_OPEN = command(
  'BPF_RAW_TRACEPOINT_OPEN',
  Cmd.BPF_RAW_TRACEPOINT_OPEN,
  'fd',
  {
    name: nullable(string(0, 'in', cString(128))),
    prog_fd: attaches(fd(8, 'prog')),
    cookie: since('6.10', u64(16)),
  },
  { arm: 'raw_tracepoint', makes: 'link' },
);

export const BTF_LOAD = command(
  'BPF_BTF_LOAD',
  Cmd.BPF_BTF_LOAD,
  'fd',
  {
    btf: buffer(0, 'in', sizedBy('btf_size')),
    btf_log_buf: string(8, 'out', sizedBy('btf_log_size')),
    btf_size: u32(16),
    btf_log_size: u32(20),
    btf_log_level: u32(24),
    btf_log_true_size: out(since('6.4', u32(28))),
    btf_flags: since('6.9', u32(32)),
    btf_token_fd: since('6.9', fdIf({ flag: ['btf_flags', BPF_F_TOKEN_FD] }, 36, 'token')),
  },
  { makes: 'btf' },
);

const link = { attach_type: u32(8), flags: u32(12) };
const relative = <R extends Release>(arm: string, release: R) => ({
  relative_fd: member(
    `${arm}.relative_fd`,
    since(release, fdIf({ unless: ['flags', BPF_F_ID] }, 16, 'prog', 'link')),
  ),
  relative_id: member(`${arm}.relative_id`, since(release, u32(16))),
  expected_revision: member(`${arm}.expected_revision`, since(release, u64(24))),
});
const tracing = {
  target_btf_id: since('5.11', u32(16)),
  cookie: member('tracing.cookie', since('5.18', u64(24))),
};

export const LINK_CREATE_STRUCT_OPS = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  { map_fd: since('6.4', attaches(fd(0, 'map'))), ...link },
  {
    arm: 'link_create',
    makes: 'link',
    when: { value: ['attach_type', [AttachType.BPF_STRUCT_OPS]] },
  },
);
/** An EXT program replaces a function of another program, whatever `attach_type` is. */
export const LINK_CREATE_EXT = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  {
    prog_fd: attaches(fd(0, 'prog')),
    target_fd: changes(fdIf('nonzero', 4, 'prog')),
    ...link,
    ...tracing,
  },
  {
    arm: 'link_create',
    makes: 'link',
    first: true,
    when: { progType: ['prog_fd', [ProgType.BPF_PROG_TYPE_EXT]] },
  },
);
export const LINK_CREATE_TRACING = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  { prog_fd: attaches(fd(0, 'prog')), target_fd: fdIf('nonzero', 4, 'prog'), ...link, ...tracing },
  {
    arm: 'link_create',
    makes: 'link',
    when: {
      value: [
        'attach_type',
        [
          AttachType.BPF_TRACE_RAW_TP,
          AttachType.BPF_TRACE_FENTRY,
          AttachType.BPF_TRACE_FEXIT,
          AttachType.BPF_TRACE_FSESSION,
          AttachType.BPF_MODIFY_RETURN,
          AttachType.BPF_LSM_MAC,
        ],
      ],
    },
  },
);
export const LINK_CREATE_TRACING_MULTI = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  {
    prog_fd: attaches(fd(0, 'prog')),
    ...link,
    ids: member('tracing_multi.ids', since('7.2', buffer(16, 'in', times('cnt', 4)))),
    cookies: member(
      'tracing_multi.cookies',
      since('7.2', nullable(buffer(24, 'in', times('cnt', 8)))),
    ),
    cnt: member('tracing_multi.cnt', since('7.2', u32(32))),
  },
  {
    arm: 'link_create',
    makes: 'link',
    when: {
      value: [
        'attach_type',
        [
          AttachType.BPF_TRACE_FENTRY_MULTI,
          AttachType.BPF_TRACE_FEXIT_MULTI,
          AttachType.BPF_TRACE_FSESSION_MULTI,
        ],
      ],
    },
  },
);
export const LINK_CREATE_CGROUP = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  {
    prog_fd: attaches(fd(0, 'prog')),
    target_fd: fd(4, 'cgroup'),
    ...link,
    ...relative('cgroup', '6.17'),
  },
  { arm: 'link_create', makes: 'link', when: { value: ['attach_type', cgroupAttachTypes] } },
);
export const LINK_CREATE_TCX = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  { prog_fd: attaches(fd(0, 'prog')), target_ifindex: u32(4), ...link, ...relative('tcx', '6.6') },
  {
    arm: 'link_create',
    makes: 'link',
    when: { value: ['attach_type', [AttachType.BPF_TCX_INGRESS, AttachType.BPF_TCX_EGRESS]] },
  },
);
export const LINK_CREATE_NETKIT = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  {
    prog_fd: attaches(fd(0, 'prog')),
    target_ifindex: u32(4),
    ...link,
    ...relative('netkit', '6.7'),
  },
  {
    arm: 'link_create',
    makes: 'link',
    when: { value: ['attach_type', [AttachType.BPF_NETKIT_PRIMARY, AttachType.BPF_NETKIT_PEER]] },
  },
);
export const LINK_CREATE_XDP = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  { prog_fd: attaches(fd(0, 'prog')), target_ifindex: u32(4), ...link },
  { arm: 'link_create', makes: 'link', when: { value: ['attach_type', [AttachType.BPF_XDP]] } },
);
export const LINK_CREATE_NETNS = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  { prog_fd: attaches(fd(0, 'prog')), target_fd: fd(4, 'netns'), ...link },
  {
    arm: 'link_create',
    makes: 'link',
    when: { value: ['attach_type', [AttachType.BPF_FLOW_DISSECTOR, AttachType.BPF_SK_LOOKUP]] },
  },
);
export const LINK_CREATE_SOCKMAP = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  { prog_fd: attaches(fd(0, 'prog')), target_fd: changes(fd(4, 'map')), ...link },
  { arm: 'link_create', makes: 'link', when: { value: ['attach_type', sockmapAttachTypes] } },
);
export const LINK_CREATE_NETFILTER = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  {
    prog_fd: attaches(fd(0, 'prog')),
    ...link,
    pf: member('netfilter.pf', since('6.4', u32(16))),
    hooknum: member('netfilter.hooknum', since('6.4', u32(20))),
    priority: member('netfilter.priority', since('6.4', s32(24))),
    netfilter_flags: member('netfilter.flags', since('6.4', u32(28))),
  },
  {
    arm: 'link_create',
    makes: 'link',
    when: { value: ['attach_type', [AttachType.BPF_NETFILTER]] },
  },
);
export const LINK_CREATE_PERF_EVENT = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  {
    prog_fd: attaches(fd(0, 'prog')),
    target_fd: fd(4, 'perf_event'),
    ...link,
    bpf_cookie: member('perf_event.bpf_cookie', since('5.15', u64(16))),
  },
  {
    arm: 'link_create',
    makes: 'link',
    when: { value: ['attach_type', [AttachType.BPF_PERF_EVENT]] },
  },
);
export const LINK_CREATE_KPROBE_MULTI = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  {
    prog_fd: attaches(fd(0, 'prog')),
    ...link,
    kprobe_flags: member('kprobe_multi.flags', since('5.18', u32(16))),
    cnt: member('kprobe_multi.cnt', since('5.18', u32(20))),
    syms: member('kprobe_multi.syms', since('5.18', nullable(strings(24, times('cnt', 8), 512)))),
    addrs: member('kprobe_multi.addrs', since('5.18', nullable(buffer(32, 'in', times('cnt', 8))))),
    cookies: member(
      'kprobe_multi.cookies',
      since('5.18', nullable(buffer(40, 'in', times('cnt', 8)))),
    ),
  },
  {
    arm: 'link_create',
    makes: 'link',
    when: {
      value: [
        'attach_type',
        [AttachType.BPF_TRACE_KPROBE_MULTI, AttachType.BPF_TRACE_KPROBE_SESSION],
      ],
    },
  },
);

export const LINK_CREATE_UPROBE_MULTI = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  {
    prog_fd: attaches(fd(0, 'prog')),
    ...link,
    path: member('uprobe_multi.path', since('6.6', nullable(string(16, 'in', cString(PATH_MAX))))),
    offsets: member('uprobe_multi.offsets', since('6.6', buffer(24, 'in', times('cnt', 8)))),
    ref_ctr_offsets: member(
      'uprobe_multi.ref_ctr_offsets',
      since('6.6', nullable(buffer(32, 'in', times('cnt', 8)))),
    ),
    cookies: member(
      'uprobe_multi.cookies',
      since('6.6', nullable(buffer(40, 'in', times('cnt', 8)))),
    ),
    cnt: member('uprobe_multi.cnt', since('6.6', u32(48))),
    uprobe_flags: member('uprobe_multi.flags', since('6.6', u32(52))),
    pid: member('uprobe_multi.pid', since('6.6', u32(56))),
    path_fd: member(
      'uprobe_multi.path_fd',
      since('7.2', fdIf({ flag: ['uprobe_flags', BPF_F_UPROBE_MULTI_PATH_FD] }, 60, 'file')),
    ),
  },
  {
    arm: 'link_create',
    makes: 'link',
    when: {
      value: [
        'attach_type',
        [AttachType.BPF_TRACE_UPROBE_MULTI, AttachType.BPF_TRACE_UPROBE_SESSION],
      ],
    },
  },
);

// The target of an iterator's program decides how the iterator can be restricted.
const iterator = <S extends Struct>(to: S) => ({
  prog_fd: attaches(fd(0, 'prog')),
  ...link,
  iter_info: nullable(pointsTo(16, 'in', to, sizedBy('iter_info_len'))),
  iter_info_len: u32(24),
});
const anIterator = { value: ['attach_type', [AttachType.BPF_TRACE_ITER]] } as const;
const overA = <T extends IterTarget>(target: T) =>
  ({ ...anIterator, iterates: ['prog_fd', target] }) as const;

export const LINK_CREATE_ITER_MAP = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  iterator(infos.ITER_LINK_INFO_MAP),
  { arm: 'link_create', makes: 'link', when: overA('map') },
);
export const LINK_CREATE_ITER_CGROUP = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  iterator(infos.ITER_LINK_INFO_CGROUP),
  { arm: 'link_create', makes: 'link', when: overA('cgroup') },
);
export const LINK_CREATE_ITER_TASK = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  iterator(infos.ITER_LINK_INFO_TASK),
  { arm: 'link_create', makes: 'link', when: overA('task') },
);
/** An iterator without a restriction, or with a target that cannot be restricted. */
export const LINK_CREATE_ITER = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  {
    prog_fd: attaches(fd(0, 'prog')),
    ...link,
    iter_info: nullable(buffer(16, 'in', sizedBy('iter_info_len'))),
    iter_info_len: u32(24),
  },
  {
    arm: 'link_create',
    makes: 'link',
    // Without a restriction, the iterator's target need not be known.
    first: true,
    when: [
      { ...anIterator, zero: 'iter_info_len' },
      overA('other'),
      {
        fdKind: ['prog_fd', ['none', 'map', 'btf', 'link', 'token', ...notABpfObject]],
        ...anIterator,
      },
    ],
  },
);
const notForLinks = [
  AttachType.BPF_LIRC_MODE2,
  AttachType.BPF_XDP_DEVMAP,
  AttachType.BPF_XDP_CPUMAP,
  AttachType.BPF_SK_REUSEPORT_SELECT,
  AttachType.BPF_SK_REUSEPORT_SELECT_OR_MIGRATE,
];
/** Attach types without links. The kernel refuses them. */
export const LINK_CREATE_OTHER = command(
  'BPF_LINK_CREATE',
  Cmd.BPF_LINK_CREATE,
  'fd',
  { prog_fd: attaches(fd(0, 'prog')), target_fd: fdIf('nonzero', 4, 'file'), ...link },
  { arm: 'link_create', makes: 'link', when: { value: ['attach_type', notForLinks] } },
);

export const LINK_UPDATE = command(
  'BPF_LINK_UPDATE',
  Cmd.BPF_LINK_UPDATE,
  'status',
  {
    link_fd: changes(fd(0, 'link')),
    new_prog_fd: attaches(fd(4, 'prog')),
    flags: u32(8),
    old_prog_fd: fdIf({ flag: ['flags', BPF_F_REPLACE] }, 12, 'prog'),
  },
  { arm: 'link_update' },
);

/** Replaces the map of a STRUCT_OPS link, and with the map its programs. */
export const LINK_UPDATE_STRUCT_OPS = command(
  'BPF_LINK_UPDATE',
  Cmd.BPF_LINK_UPDATE,
  'status',
  {
    link_fd: changes(fd(0, 'link')),
    new_map_fd: since('6.4', attaches(fd(4, 'map'))),
    flags: u32(8),
    old_map_fd: since('6.4', fdIf({ flag: ['flags', BPF_F_REPLACE] }, 12, 'map')),
  },
  { arm: 'link_update', when: { linkType: ['link_fd', [LinkType.BPF_LINK_TYPE_STRUCT_OPS]] } },
);

export const LINK_DETACH = command(
  'BPF_LINK_DETACH',
  Cmd.BPF_LINK_DETACH,
  'status',
  { link_fd: changes(fd(0, 'link')) },
  { arm: 'link_detach' },
);

export const ENABLE_STATS = command(
  'BPF_ENABLE_STATS',
  Cmd.BPF_ENABLE_STATS,
  'fd',
  { type: u32(0) },
  { arm: 'enable_stats', makes: 'stats' },
);

export const ITER_CREATE = command(
  'BPF_ITER_CREATE',
  Cmd.BPF_ITER_CREATE,
  'fd',
  // Reading from an iterator runs its program.
  { link_fd: runs(fd(0, 'link')), flags: u32(4) },
  { arm: 'iter_create', makes: 'iter' },
);

export const PROG_BIND_MAP = command(
  'BPF_PROG_BIND_MAP',
  Cmd.BPF_PROG_BIND_MAP,
  'status',
  { prog_fd: changes(fd(0, 'prog')), map_fd: fd(4, 'map'), flags: u32(8) },
  { arm: 'prog_bind_map' },
);

export const TOKEN_CREATE = command(
  'BPF_TOKEN_CREATE',
  Cmd.BPF_TOKEN_CREATE,
  'fd',
  { flags: since('6.9', u32(0)), bpffs_fd: since('6.9', fd(4, 'directory')) },
  { arm: 'token_create', makes: 'token' },
);

export const PROG_STREAM_READ_BY_FD = command(
  'BPF_PROG_STREAM_READ_BY_FD',
  Cmd.BPF_PROG_STREAM_READ_BY_FD,
  'length',
  {
    stream_buf: since('6.17', buffer(0, 'out', sizedBy('stream_buf_len'))),
    stream_buf_len: since('6.17', u32(8)),
    stream_id: since('6.17', u32(12)),
    // Reading removes the bytes from the stream.
    prog_fd: since('6.17', changes(fd(16, 'prog'))),
  },
  { arm: 'prog_stream_read' },
);

export const PROG_ASSOC_STRUCT_OPS = command(
  'BPF_PROG_ASSOC_STRUCT_OPS',
  Cmd.BPF_PROG_ASSOC_STRUCT_OPS,
  'status',
  {
    map_fd: since('7.0', attaches(fd(0, 'map'))),
    prog_fd: since('7.0', changes(fd(4, 'prog'))),
    flags: since('7.0', u32(8)),
  },
  { arm: 'prog_assoc_struct_ops' },
);
