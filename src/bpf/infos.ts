/* Structures behind pointers of the attribute. Kernel source: include/uapi/linux/bpf.h. */
import {
  bit,
  buffer,
  bytes,
  changes,
  chars,
  fdIf,
  inout,
  member,
  nullable,
  out,
  s32,
  since,
  sizedBy,
  string,
  struct,
  times,
  u32,
  u64,
} from './rows.js';

export const PROG_INFO = struct('struct bpf_prog_info', {
  type: out(u32(0)),
  id: out(u32(4)),
  tag: out(bytes(8, 8)),
  jited_prog_len: inout(u32(16)),
  xlated_prog_len: inout(u32(20)),
  jited_prog_insns: buffer(24, 'out', sizedBy('jited_prog_len')),
  xlated_prog_insns: buffer(32, 'out', sizedBy('xlated_prog_len')),
  load_time: out(u64(40)),
  created_by_uid: out(u32(48)),
  nr_map_ids: inout(u32(52)),
  map_ids: buffer(56, 'out', times('nr_map_ids', 4)),
  name: out(chars(64, 16)),
  ifindex: out(u32(80)),
  gpl_compatible: out(bit(84)),
  netns_dev: out(u64(88)),
  netns_ino: out(u64(96)),
  nr_jited_ksyms: inout(u32(104)),
  nr_jited_func_lens: inout(u32(108)),
  jited_ksyms: buffer(112, 'out', times('nr_jited_ksyms', 8)),
  jited_func_lens: buffer(120, 'out', times('nr_jited_func_lens', 4)),
  btf_id: out(u32(128)),
  func_info_rec_size: inout(u32(132)),
  func_info: buffer(136, 'out', times('nr_func_info', 'func_info_rec_size')),
  nr_func_info: inout(u32(144)),
  nr_line_info: inout(u32(148)),
  line_info: buffer(152, 'out', times('nr_line_info', 'line_info_rec_size')),
  jited_line_info: buffer(160, 'out', times('nr_jited_line_info', 'jited_line_info_rec_size')),
  nr_jited_line_info: inout(u32(168)),
  line_info_rec_size: inout(u32(172)),
  jited_line_info_rec_size: inout(u32(176)),
  nr_prog_tags: inout(u32(180)),
  prog_tags: buffer(184, 'out', times('nr_prog_tags', 8)),
  run_time_ns: out(u64(192)),
  run_cnt: out(u64(200)),
  recursion_misses: out(since('5.12', u64(208))),
  verified_insns: out(since('5.16', u32(216))),
  attach_btf_obj_id: out(since('6.0', u32(220))),
  attach_btf_id: out(since('6.0', u32(224))),
});

export const MAP_INFO = struct('struct bpf_map_info', {
  type: out(u32(0)),
  id: out(u32(4)),
  key_size: out(u32(8)),
  value_size: out(u32(12)),
  max_entries: out(u32(16)),
  map_flags: out(u32(20)),
  name: out(chars(24, 16)),
  ifindex: out(u32(40)),
  btf_vmlinux_value_type_id: out(u32(44)),
  netns_dev: out(u64(48)),
  netns_ino: out(u64(56)),
  btf_id: out(u32(64)),
  btf_key_type_id: out(u32(68)),
  btf_value_type_id: out(u32(72)),
  btf_vmlinux_id: out(since('6.9', u32(76))),
  map_extra: out(since('5.16', u64(80))),
  hash: since('6.18', buffer(88, 'out', sizedBy('hash_size'))),
  hash_size: inout(since('6.18', u32(96))),
});

export const BTF_INFO = struct('struct bpf_btf_info', {
  btf: buffer(0, 'out', sizedBy('btf_size')),
  btf_size: inout(u32(8)),
  id: out(u32(12)),
  name: since('5.11', string(16, 'out', sizedBy('name_len'))),
  name_len: inout(since('5.11', u32(24))),
  kernel_btf: out(since('5.11', u32(28))),
});

export const TOKEN_INFO = struct('struct bpf_token_info', {
  allowed_cmds: out(since('6.17', u64(0))),
  allowed_maps: out(since('6.17', u64(8))),
  allowed_progs: out(since('6.17', u64(16))),
  allowed_attachs: out(since('6.17', u64(24))),
});

const link = { type: out(u32(0)), id: out(u32(4)), prog_id: out(u32(8)) };

export const LINK_INFO = struct('struct bpf_link_info', link);

export const LINK_INFO_RAW_TRACEPOINT = struct('struct bpf_link_info', {
  ...link,
  tp_name: member('raw_tracepoint.tp_name', string(16, 'out', sizedBy('tp_name_len'))),
  tp_name_len: member('raw_tracepoint.tp_name_len', inout(u32(24))),
  cookie: member('raw_tracepoint.cookie', out(since('6.17', u64(32)))),
});

export const LINK_INFO_TRACING = struct('struct bpf_link_info', {
  ...link,
  attach_type: member('tracing.attach_type', out(u32(16))),
  target_obj_id: member('tracing.target_obj_id', out(since('5.13', u32(20)))),
  target_btf_id: member('tracing.target_btf_id', out(since('5.13', u32(24)))),
  cookie: member('tracing.cookie', out(since('6.17', u64(32)))),
});

export const LINK_INFO_CGROUP = struct('struct bpf_link_info', {
  ...link,
  cgroup_id: member('cgroup.cgroup_id', out(u64(16))),
  attach_type: member('cgroup.attach_type', out(u32(24))),
});

export const LINK_INFO_ITER = struct('struct bpf_link_info', {
  ...link,
  target_name: member('iter.target_name', string(16, 'out', sizedBy('target_name_len'))),
  target_name_len: member('iter.target_name_len', inout(u32(24))),
  map_id: member('iter.map.map_id', out(u32(28))),
  cgroup_id: member('iter.cgroup.cgroup_id', out(since('6.1', u64(32)))),
  order: member('iter.cgroup.order', out(since('6.1', u32(40)))),
  tid: member('iter.task.tid', out(since('6.1', u32(32)))),
  pid: member('iter.task.pid', out(since('6.1', u32(36)))),
});

export const LINK_INFO_NETNS = struct('struct bpf_link_info', {
  ...link,
  netns_ino: member('netns.netns_ino', out(u32(16))),
  attach_type: member('netns.attach_type', out(u32(20))),
});

export const LINK_INFO_XDP = struct('struct bpf_link_info', {
  ...link,
  ifindex: member('xdp.ifindex', out(u32(16))),
});

export const LINK_INFO_STRUCT_OPS = struct('struct bpf_link_info', {
  ...link,
  map_id: member('struct_ops.map_id', out(since('6.4', u32(16)))),
});

export const LINK_INFO_NETFILTER = struct('struct bpf_link_info', {
  ...link,
  pf: member('netfilter.pf', out(since('6.4', u32(16)))),
  hooknum: member('netfilter.hooknum', out(since('6.4', u32(20)))),
  priority: member('netfilter.priority', out(since('6.4', s32(24)))),
  flags: member('netfilter.flags', out(since('6.4', u32(28)))),
});

export const LINK_INFO_TCX = struct('struct bpf_link_info', {
  ...link,
  ifindex: member('tcx.ifindex', out(since('6.6', u32(16)))),
  attach_type: member('tcx.attach_type', out(since('6.6', u32(20)))),
});

export const LINK_INFO_NETKIT = struct('struct bpf_link_info', {
  ...link,
  ifindex: member('netkit.ifindex', out(since('6.7', u32(16)))),
  attach_type: member('netkit.attach_type', out(since('6.7', u32(20)))),
});

export const LINK_INFO_SOCKMAP = struct('struct bpf_link_info', {
  ...link,
  map_id: member('sockmap.map_id', out(since('6.10', u32(16)))),
  attach_type: member('sockmap.attach_type', out(since('6.10', u32(20)))),
});

export const LINK_INFO_KPROBE_MULTI = struct('struct bpf_link_info', {
  ...link,
  addrs: member('kprobe_multi.addrs', since('6.6', buffer(16, 'out', times('count', 8)))),
  count: member('kprobe_multi.count', inout(since('6.6', u32(24)))),
  flags: member('kprobe_multi.flags', out(since('6.6', u32(28)))),
  missed: member('kprobe_multi.missed', out(since('6.7', u64(32)))),
  cookies: member(
    'kprobe_multi.cookies',
    since('6.9', nullable(buffer(40, 'out', times('count', 8)))),
  ),
});

export const LINK_INFO_UPROBE_MULTI = struct('struct bpf_link_info', {
  ...link,
  path: member('uprobe_multi.path', since('6.8', string(16, 'out', sizedBy('path_size')))),
  offsets: member('uprobe_multi.offsets', since('6.8', buffer(24, 'out', times('count', 8)))),
  ref_ctr_offsets: member(
    'uprobe_multi.ref_ctr_offsets',
    since('6.8', nullable(buffer(32, 'out', times('count', 8)))),
  ),
  cookies: member(
    'uprobe_multi.cookies',
    since('6.8', nullable(buffer(40, 'out', times('count', 8)))),
  ),
  path_size: member('uprobe_multi.path_size', inout(since('6.8', u32(48)))),
  count: member('uprobe_multi.count', inout(since('6.8', u32(52)))),
  flags: member('uprobe_multi.flags', out(since('6.8', u32(56)))),
  pid: member('uprobe_multi.pid', out(since('6.8', u32(60)))),
});

export const COMMON_ATTR = struct('struct bpf_common_attr', {
  log_buf: since('7.2', string(0, 'out', sizedBy('log_size'))),
  log_size: since('7.2', u32(8)),
  log_level: since('7.2', u32(12)),
  log_true_size: out(since('7.2', u32(16))),
});

const perfEvent = { ...link, perf_type: member('perf_event.type', out(since('6.6', u32(16)))) };

/**
 * The fields of all perf events, with room for a name. `perf_type` decides which of the shapes
 * below to ask with. The shapes with a name have it in the same place.
 */
export const LINK_INFO_PERF_EVENT = struct('struct bpf_link_info', {
  ...perfEvent,
  name: member('perf_event.kprobe.func_name', since('6.6', string(24, 'out', sizedBy('name_len')))),
  name_len: member('perf_event.kprobe.name_len', inout(since('6.6', u32(32)))),
  offset: member('perf_event.kprobe.offset', out(since('6.6', u32(36)))),
});
export const LINK_INFO_PERF_UPROBE = struct('struct bpf_link_info', {
  ...perfEvent,
  file_name: member(
    'perf_event.uprobe.file_name',
    since('6.6', string(24, 'out', sizedBy('name_len'))),
  ),
  name_len: member('perf_event.uprobe.name_len', inout(since('6.6', u32(32)))),
  offset: member('perf_event.uprobe.offset', out(since('6.6', u32(36)))),
  cookie: member('perf_event.uprobe.cookie', out(since('6.9', u64(40)))),
  ref_ctr_offset: member('perf_event.uprobe.ref_ctr_offset', out(since('6.16', u64(48)))),
});
export const LINK_INFO_PERF_KPROBE = struct('struct bpf_link_info', {
  ...perfEvent,
  func_name: member(
    'perf_event.kprobe.func_name',
    since('6.6', string(24, 'out', sizedBy('name_len'))),
  ),
  name_len: member('perf_event.kprobe.name_len', inout(since('6.6', u32(32)))),
  offset: member('perf_event.kprobe.offset', out(since('6.6', u32(36)))),
  addr: member('perf_event.kprobe.addr', out(since('6.6', u64(40)))),
  missed: member('perf_event.kprobe.missed', out(since('6.7', u64(48)))),
  cookie: member('perf_event.kprobe.cookie', out(since('6.9', u64(56)))),
});
export const LINK_INFO_PERF_TRACEPOINT = struct('struct bpf_link_info', {
  ...perfEvent,
  tp_name: member(
    'perf_event.tracepoint.tp_name',
    since('6.6', string(24, 'out', sizedBy('name_len'))),
  ),
  name_len: member('perf_event.tracepoint.name_len', inout(since('6.6', u32(32)))),
  cookie: member('perf_event.tracepoint.cookie', out(since('6.9', u64(40)))),
});
export const LINK_INFO_PERF_OTHER = struct('struct bpf_link_info', {
  ...perfEvent,
  config: member('perf_event.event.config', out(since('6.6', u64(24)))),
  config_type: member('perf_event.event.type', out(since('6.6', u32(32)))),
  cookie: member('perf_event.event.cookie', out(since('6.9', u64(40)))),
});

/** Not in a released header yet. The offsets are those of the development tree. */
export const LINK_INFO_TRACING_MULTI = struct('struct bpf_link_info', {
  ...link,
  count: member('tracing_multi.count', inout(since('7.3', u32(20)))),
  ids: member('tracing_multi.ids', since('7.3', buffer(32, 'out', times('count', 4)))),
  addrs: member(
    'tracing_multi.addrs',
    since('7.3', nullable(buffer(40, 'out', times('count', 8)))),
  ),
  cookies: member(
    'tracing_multi.cookies',
    since('7.3', nullable(buffer(48, 'out', times('count', 8)))),
  ),
});

/** The restrictions of TRACE_ITER links. The program decides which member applies. */
export const ITER_LINK_INFO_MAP = struct('union bpf_iter_link_info', {
  // A program that iterates over a map's elements can write to them.
  map_fd: member('map.map_fd', changes(fdIf('nonzero', 0, 'map'))),
});
export const ITER_LINK_INFO_CGROUP = struct('union bpf_iter_link_info', {
  order: member('cgroup.order', since('6.1', u32(0))),
  cgroup_fd: member('cgroup.cgroup_fd', since('6.1', fdIf('nonzero', 4, 'cgroup'))),
  cgroup_id: member('cgroup.cgroup_id', since('6.1', u64(8))),
});
export const ITER_LINK_INFO_TASK = struct('union bpf_iter_link_info', {
  tid: member('task.tid', since('6.1', u32(0))),
  pid: member('task.pid', since('6.1', u32(4))),
  pid_fd: member('task.pid_fd', since('6.1', fdIf('nonzero', 8, 'pidfd'))),
});
