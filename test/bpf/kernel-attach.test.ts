import { mkdirSync, rmdirSync } from 'node:fs';
import t from 'tap';
import { type Arguments, enums, insn, rows } from '../../src/bpf/index.js';
import { cgroupHierarchy, LocalKernel, lacks, whyNoKernel } from './kernel.js';

const { exit, mov, program } = insn;
const { AttachFlag, AttachType, LinkType, MapType, ProgType, QueryFlag, TaskFdType } = enums;
const skip = whyNoKernel();
const LOOPBACK = 1;
const hierarchy = cgroupHierarchy();
const noCgroup = hierarchy === undefined && 'no cgroup2 hierarchy (try: mount -t cgroup2)';
const ENOENT = 2;
const EBADF = 9;
const EINVAL = 22;
const ENOSPC = 28;

const returns = (value: number) => program(mov('r0', value), exit());

/** Loads a program that does nothing but return. */
function load(
  kernel: LocalKernel,
  prog_type: number,
  value = 0,
  changes: Partial<Arguments<typeof rows.PROG_LOAD>> = {},
) {
  const insns = returns(value);
  return kernel.call(rows.PROG_LOAD, { prog_type, insns, license: 'GPL', ...changes });
}

const idOf = (kernel: LocalKernel, bpf_fd: { handle: number }) =>
  kernel.call(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd }).info.id;

const words = (bytes: Uint8Array | undefined) => [
  ...new Uint32Array((bytes ?? new Uint8Array(0)).slice().buffer),
];

t.test('programs at the places of this machine’s kernel', { skip }, async (t) => {
  const kernel = new LocalKernel();
  t.teardown(() => kernel.close());

  t.test('programs of a cgroup are attached, counted and detached', { skip: noCgroup }, (t) => {
    const folder = `${hierarchy}/waep-test-${process.pid}`;
    mkdirSync(folder);
    t.teardown(() => rmdirSync(folder));
    const target_fd = kernel.open(folder);
    const attach_type = AttachType.BPF_CGROUP_INET_INGRESS;
    const progs = [1, 2].map(() => load(kernel, ProgType.BPF_PROG_TYPE_CGROUP_SKB, 1));
    for (const attach_bpf_fd of progs) {
      kernel.call(rows.PROG_ATTACH_CGROUP, {
        target_fd,
        attach_bpf_fd,
        attach_type,
        attach_flags: AttachFlag.BPF_F_ALLOW_MULTI,
      });
    }
    const ids = progs.map((prog) => idOf(kernel, prog));
    const query = { target_fd, attach_type, prog_cnt: 4 };
    const found = kernel.call(rows.PROG_QUERY_CGROUP, query);
    t.match(found, { prog_cnt: 2, attach_flags: AttachFlag.BPF_F_ALLOW_MULTI });
    t.same(words(found.prog_ids), ids);
    const counted = kernel.call(rows.PROG_QUERY_CGROUP, { target_fd, attach_type });
    t.equal(counted.prog_cnt, 2, 'without room there is the count');
    t.equal(counted.prog_ids, undefined);
    const short = kernel.try(rows.PROG_QUERY_CGROUP, { target_fd, attach_type, prog_cnt: 1 });
    t.equal(short.errno, ENOSPC);
    t.equal(short.results.prog_cnt, 2, 'the count is there with the error');
    t.same(words(short.results.prog_ids), ids.slice(0, 1), 'and so is what had room');
    const effective = { ...query, query_flags: QueryFlag.BPF_F_QUERY_EFFECTIVE };
    t.equal(
      kernel.try(rows.PROG_QUERY_CGROUP, { ...effective, prog_attach_flags: true }).errno,
      EINVAL,
    );
    const [attach_bpf_fd = { handle: 0 }] = progs;
    kernel.call(rows.PROG_DETACH_CGROUP, { target_fd, attach_bpf_fd, attach_type });
    t.equal(kernel.call(rows.PROG_QUERY_CGROUP, query).prog_cnt, 1);

    const link = kernel.call(rows.LINK_CREATE_CGROUP, {
      prog_fd: attach_bpf_fd,
      target_fd,
      attach_type,
    });
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_CGROUP, { bpf_fd: link });
    t.match(info, { type: LinkType.BPF_LINK_TYPE_CGROUP, attach_type, prog_id: ids[0] });
    const replacement = load(kernel, ProgType.BPF_PROG_TYPE_CGROUP_SKB, 1);
    const update = {
      link_fd: link,
      new_prog_fd: replacement,
      flags: AttachFlag.BPF_F_REPLACE,
      old_prog_fd: replacement,
    };
    t.equal(kernel.try(rows.LINK_UPDATE, update).errno, 1, 'another program is there');
    kernel.call(rows.LINK_UPDATE, { ...update, old_prog_fd: attach_bpf_fd });
    const updated = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_CGROUP, { bpf_fd: link });
    t.equal(updated.info.prog_id, idOf(kernel, replacement));
    kernel.call(rows.LINK_DETACH, { link_fd: link });
    t.equal(kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_CGROUP, { bpf_fd: link }).info.cgroup_id, 0n);
    kernel.forget(target_fd);
    t.end();
  });

  t.test('programs of an interface have an order and a revision', async (t) => {
    const attach_type = AttachType.BPF_TCX_INGRESS;
    const changes = { expected_attach_type: attach_type };
    const goOn = -1; // TCX_NEXT
    const loaded = () => load(kernel, ProgType.BPF_PROG_TYPE_SCHED_CLS, goOn, changes);
    const [first, second, third] = [loaded(), loaded(), loaded()];
    const at = { target_ifindex: LOOPBACK, attach_type };
    const before = kernel.try(rows.PROG_QUERY_INTERFACE, at);
    if (before.errno === EINVAL) return lacks(t, 'tcx', '6.6');
    kernel.call(rows.PROG_ATTACH_INTERFACE, { ...at, attach_bpf_fd: second });
    t.teardown(() => kernel.try(rows.PROG_DETACH_INTERFACE, { ...at, attach_bpf_fd: second }));
    const link = kernel.call(rows.LINK_CREATE_TCX, {
      ...at,
      prog_fd: first,
      flags: AttachFlag.BPF_F_BEFORE,
      relative_fd: second,
    });
    const after = kernel.call(rows.LINK_CREATE_TCX, {
      ...at,
      prog_fd: third,
      flags: AttachFlag.BPF_F_AFTER | AttachFlag.BPF_F_ID,
      relative_id: idOf(kernel, second),
    });
    const query = { ...at, prog_cnt: 8, link_ids: true, prog_attach_flags: true };
    const found = kernel.call(rows.PROG_QUERY_INTERFACE, query);
    t.same(
      words(found.prog_ids),
      [first, second, third].map((prog) => idOf(kernel, prog)),
    );
    const ids = [link, after].map(
      (bpf_fd) => kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_TCX, { bpf_fd }).info.id,
    );
    t.same(words(found.link_ids), [ids[0], 0, ids[1]]);
    t.same(words(found.prog_attach_flags), [0, 0, 0]);
    const { revision } = kernel.call(rows.PROG_QUERY_INTERFACE, at);
    t.equal(revision, found.revision);
    const stale = { ...at, attach_bpf_fd: second, expected_revision: revision + 1n };
    t.match(kernel.try(rows.PROG_DETACH_INTERFACE, stale).error(), { code: 'ESTALE' });
    kernel.forget(link, after);
    kernel.call(rows.PROG_DETACH_INTERFACE, { ...stale, expected_revision: revision + 2n });
  });

  t.test('a program stands before an interface’s packets', async (t) => {
    const pass = 2; // XDP_PASS
    const prog_fd = load(kernel, ProgType.BPF_PROG_TYPE_XDP, pass);
    const link = kernel.call(rows.LINK_CREATE_XDP, {
      prog_fd,
      target_ifindex: LOOPBACK,
      attach_type: AttachType.BPF_XDP,
      flags: 2, // XDP_FLAGS_SKB_MODE
    });
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_XDP, { bpf_fd: link });
    t.match(info, { type: LinkType.BPF_LINK_TYPE_XDP, ifindex: LOOPBACK });
    kernel.forget(link);
  });

  t.test('a map of sockets has programs', async (t) => {
    const values = {
      map_type: MapType.BPF_MAP_TYPE_SOCKMAP,
      key_size: 4,
      value_size: 4,
      max_entries: 1,
    };
    const map = kernel.call(rows.MAP_CREATE, values);
    const prog = load(kernel, ProgType.BPF_PROG_TYPE_SK_SKB, 1);
    const at = { target_fd: map, attach_type: AttachType.BPF_SK_SKB_STREAM_VERDICT };
    kernel.call(rows.PROG_ATTACH_SOCKMAP, { ...at, attach_bpf_fd: prog });
    const found = kernel.try(rows.PROG_QUERY_SOCKMAP, { ...at, prog_cnt: 1 });
    if (found.errno !== EINVAL) t.same(words(found.results.prog_ids), [idOf(kernel, prog)]);
    kernel.call(rows.PROG_DETACH_SOCKMAP, { ...at, attach_bpf_fd: prog });
    const again = kernel.try(rows.PROG_DETACH_SOCKMAP, { ...at, attach_bpf_fd: prog });
    t.equal(again.errno, ENOENT);
    const linked = kernel.try(rows.LINK_CREATE_SOCKMAP, { ...at, prog_fd: prog });
    if (linked.errno === EINVAL) return lacks(t, 'links to such maps', '6.10');
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_SOCKMAP, { bpf_fd: linked });
    t.match(info, { type: LinkType.BPF_LINK_TYPE_SOCKMAP, attach_type: at.attach_type });
    kernel.forget(linked);
  });

  t.test('a network namespace has programs', async (t) => {
    const attach_type = AttachType.BPF_SK_LOOKUP;
    const changes = { expected_attach_type: attach_type };
    const prog_fd = load(kernel, ProgType.BPF_PROG_TYPE_SK_LOOKUP, 1, changes);
    const target_fd = kernel.open('/proc/self/ns/net');
    const link = kernel.call(rows.LINK_CREATE_NETNS, { prog_fd, target_fd, attach_type });
    const found = kernel.call(rows.PROG_QUERY_NETNS, { target_fd, attach_type, prog_cnt: 4 });
    t.ok(words(found.prog_ids).includes(idOf(kernel, prog_fd)));
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_NETNS, { bpf_fd: link });
    t.match(info, { type: LinkType.BPF_LINK_TYPE_NETNS, attach_type });
    kernel.forget(link);
    const attach = { attach_bpf_fd: prog_fd, attach_type: AttachType.BPF_FLOW_DISSECTOR };
    t.equal(kernel.try(rows.PROG_ATTACH_NETNS, attach).errno, EINVAL, 'of the wrong type');
    t.equal(kernel.try(rows.PROG_DETACH_NETNS, attach).errno > 0, true);
  });

  t.test('a program filters packets', async (t) => {
    const attach_type = AttachType.BPF_NETFILTER;
    const changes = { expected_attach_type: attach_type };
    const prog_fd = load(kernel, ProgType.BPF_PROG_TYPE_NETFILTER, 1, changes);
    const link = kernel.call(rows.LINK_CREATE_NETFILTER, {
      prog_fd,
      attach_type,
      pf: 2, // NFPROTO_IPV4
      hooknum: 1, // NF_INET_LOCAL_IN
      priority: -123,
    });
    const { info } = kernel.call(rows.OBJ_GET_INFO_BY_FD_LINK_NETFILTER, { bpf_fd: link });
    t.match(info, { type: LinkType.BPF_LINK_TYPE_NETFILTER, pf: 2, hooknum: 1, priority: -123 });
    kernel.forget(link);
  });

  t.test('a descriptor of the session is found by who holds it', async (t) => {
    const prog_fd = load(kernel, ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT);
    const link = kernel.call(rows.RAW_TRACEPOINT_OPEN, { name: 'sys_enter', prog_fd });
    const whole = kernel.call(rows.TASK_FD_QUERY_OWN, { fd: link, buf_len: 64 });
    t.match(whole, {
      buf: 'sys_enter',
      buf_len: 9,
      fd_type: TaskFdType.BPF_FD_TYPE_RAW_TRACEPOINT,
      prog_id: idOf(kernel, prog_fd),
    });
    const cut = kernel.try(rows.TASK_FD_QUERY_OWN, { fd: link, buf_len: 4 });
    t.equal(cut.errno, ENOSPC);
    t.match(cut.results, { buf: 'sys', buf_len: 9, prog_id: whole.prog_id });
    t.match(kernel.try(rows.TASK_FD_QUERY_OWN, { fd: prog_fd }).error(), { code: 'ENOTSUPP' });
    t.equal(kernel.try(rows.TASK_FD_QUERY, { pid: process.pid, fd: 0x7fff }).errno, EBADF);
    t.equal(kernel.try(rows.TASK_FD_QUERY, { pid: 0x7fffffff, fd: 0 }).errno, ENOENT);
  });

  t.test('what has no place is refused by the kernel', async (t) => {
    const attach_type = AttachType.BPF_XDP_CPUMAP;
    const prog = load(kernel, ProgType.BPF_PROG_TYPE_XDP, 2);
    t.equal(kernel.try(rows.PROG_ATTACH_OTHER, { attach_bpf_fd: prog, attach_type }).errno, EINVAL);
    t.equal(kernel.try(rows.PROG_DETACH_OTHER, { attach_type }).errno, EINVAL);
    t.equal(kernel.try(rows.PROG_QUERY_OTHER, { attach_type }).errno, EINVAL);
    t.equal(kernel.try(rows.LINK_CREATE_OTHER, { prog_fd: prog, attach_type }).errno, EINVAL);
    const lirc = { target_fd: prog, attach_type: AttachType.BPF_LIRC_MODE2 };
    t.equal(kernel.try(rows.PROG_QUERY_LIRC, lirc).errno, EINVAL);
    t.equal(kernel.try(rows.PROG_ATTACH_LIRC, { ...lirc, attach_bpf_fd: prog }).errno, EINVAL);
    t.equal(kernel.try(rows.PROG_DETACH_LIRC, { ...lirc, attach_bpf_fd: prog }).errno, EINVAL);
    t.equal(kernel.try(rows.OBJ_GET_INFO_BY_FD_OTHER, { bpf_fd: kernel.open('/') }).errno, EINVAL);
  });
});
