import { enums, type Ref, rows } from '../bpf/index.js';
import type { BtfTypes } from '../btf/index.js';
import type { Handle } from '../call.js';
import { failure } from '../errors.js';
import { type OptionNames, refuseUnknownOptions } from '../known-options.js';
import type { BpfOptions } from './bpf-calls.js';
import { openBtf } from './btf.js';
import type { GuestKernel } from './guest-kernel.js';
import { GuestObject, openObject, PinnableObject } from './guest-object.js';
import { type ProgramInfo, readProgramInfo } from './info.js';
import { Link } from './link.js';
import {
  attachPerfEvent,
  attachToEvent,
  type KprobeTarget,
  kprobeEvent,
  type PerfAttachment,
  tracepointEvent,
  type UprobeTarget,
  uprobeEvent,
} from './perf-attach.js';
import type { PerfEvent } from './perf-event.js';
import { type TestRun, type TestRunOptions, testRun } from './test-run.js';

const { AttachType } = enums;

/** The properties of a program that are known without asking the guest. */
export interface ProgramSpec {
  /** `BPF_PROG_TYPE_*`. */
  readonly type: number;
  /** The attach type that it was loaded with, or 0. */
  readonly expectedAttachType: number;
  /** The name that the program was loaded with, or an empty text. */
  readonly name: string;
  /** The verifier's log, where one was asked for. */
  readonly log: string;
}

/** How several programs at one place are ordered. */
export interface AttachOrder {
  /** Goes before this program or link. */
  before?: Program | Link;
  /** Goes after this program or link. */
  after?: Program | Link;
  /** Fails with ESTALE unless the place is at this revision. */
  expectedRevision?: number | bigint;
}

/** Which functions of the guest's kernel a KPROBE program is run at. */
export interface KprobeTargets {
  /** Their names. */
  symbols?: readonly string[];
  /** Or their addresses. */
  addresses?: readonly bigint[];
  /** What bpf_get_attach_cookie() returns at each of them. */
  cookies?: readonly bigint[];
  /** Whether to run when they return. */
  onReturn?: boolean;
}

/** Which places of a program file of the guest a KPROBE program is run at. */
export interface UprobeTargets {
  /** The file, in the guest. */
  path: string;
  /** Offsets in the file, in bytes. */
  offsets: readonly bigint[];
  /** Offsets of the counters that switch USDT probes on. */
  referenceCounters?: readonly bigint[];
  /** What bpf_get_attach_cookie() returns at each of them. */
  cookies?: readonly bigint[];
  /** Only in this process of the guest. */
  pid?: number;
  /** Whether to run when functions return. */
  onReturn?: boolean;
}

const cookieNames = { cookie: true } as const;
const tracingNames = { cookie: true, program: true, btfId: true } as const;
const netfilterNames = { protocolFamily: true, hook: true, priority: true } as const;
const iteratorNames = {
  map: true,
  cgroup: true,
  order: true,
  thread: true,
  process: true,
} as const;
const orderNames: OptionNames<AttachOrder> = { before: true, after: true, expectedRevision: true };
const kprobesNames: OptionNames<KprobeTargets> = {
  ...{ symbols: true, addresses: true, cookies: true, onReturn: true },
};
const uprobesNames: OptionNames<UprobeTargets> = {
  ...{ path: true, offsets: true, referenceCounters: true, cookies: true },
  ...{ pid: true, onReturn: true },
};

/** The objects that an iterator program goes over. */
export type IteratorScope =
  | Readonly<Record<string, never>>
  | { readonly map: Ref<'map'> }
  | {
      readonly cgroup: Ref<'cgroup'>;
      /** `BPF_CGROUP_ITER_*`: 1 it alone, 2 and 3 what is below it, before or after it, 4 above. */
      readonly order: number;
    }
  /** One thread of the guest, or all of a process. */
  | { readonly thread: number }
  | { readonly process: number };

/** A program in the guest, verified and not yet attached. Attaching makes a {@link Link}. */
export class Program extends PinnableObject<'prog'> {
  /** `BPF_PROG_TYPE_*`. */
  readonly type: number;
  /** The attach type that it was loaded with, or 0; of a program found by id, 0. */
  readonly expectedAttachType: number;
  /** The verifier's log, where one was asked for. */
  readonly log: string;
  readonly #about: BpfOptions = { subject: this };

  constructor(session: GuestKernel, handle: Handle, spec: ProgramSpec) {
    super(session, handle, 'prog', spec.name);
    this.type = spec.type;
    this.expectedAttachType = spec.expectedAttachType;
    this.log = spec.log;
  }

  /**
   * Attaches the program to a raw tracepoint, such as `sys_enter` (BPF_RAW_TRACEPOINT_OPEN,
   * bpf_raw_tracepoint_open() in kernel/bpf/syscall.c).
   *
   * @param options `cookie` is what bpf_get_attach_cookie() returns, since 6.10
   * @throws ENOENT when there is no such tracepoint
   */
  async attachRawTracepoint(
    name: string,
    options: { cookie?: number | bigint } = {},
  ): Promise<Link> {
    refuseUnknownOptions('attachRawTracepoint()', options, cookieNames);
    const values = { name, prog_fd: this, ...options };
    const { handle } = await this.session.bpf(
      rows.RAW_TRACEPOINT_OPEN,
      values,
      this.#to(`raw tracepoint ${name}`),
    );
    return this.#link(handle);
  }

  /**
   * Attaches a TRACING, LSM or EXT program to what it was loaded for (BPF_RAW_TRACEPOINT_OPEN, or
   * BPF_LINK_CREATE with a cookie, since 5.18; bpf_tracing_prog_attach() in kernel/bpf/syscall.c).
   *
   * @param options `program` and `btfId`: another target than at load time, of an EXT program
   */
  async attachTracing(
    options: { cookie?: number | bigint; program?: Program; btfId?: number } = {},
  ): Promise<Link> {
    refuseUnknownOptions('attachTracing()', options, tracingNames);
    const { cookie, program, btfId } = options;
    if (cookie === undefined && program === undefined) {
      const { handle } = await this.session.bpf(
        rows.RAW_TRACEPOINT_OPEN,
        { name: null, prog_fd: this },
        this.#about,
      );
      return this.#link(handle);
    }
    return this.#create(rows.LINK_CREATE_TRACING, {
      prog_fd: this,
      attach_type: this.expectedAttachType,
      ...(cookie === undefined ? {} : { cookie }),
      ...(program === undefined ? {} : { target_fd: program }),
      ...(btfId === undefined ? {} : { target_btf_id: btfId }),
    });
  }

  /**
   * Attaches a program of a cgroup type (BPF_LINK_CREATE, cgroup_bpf_link_attach() in
   * kernel/bpf/cgroup.c).
   *
   * @param cgroup the folder of the cgroup in the guest, such as `/sys/fs/cgroup`, or what
   *   {@link Session.openObject} opened
   * @param attachType `BPF_CGROUP_*`; by default the one that the program was loaded with
   */
  async attachCgroup(
    cgroup: string | Ref<'cgroup'>,
    attachType = this.expectedAttachType,
  ): Promise<Link> {
    if (typeof cgroup !== 'string') {
      const values = { prog_fd: this, target_fd: cgroup, attach_type: attachType };
      return this.#create(rows.LINK_CREATE_CGROUP, values);
    }
    await using opened = await openObject(this.session, 'cgroup', cgroup);
    return await this.attachCgroup(opened, attachType);
  }

  /**
   * Attaches an XDP program to a network interface of the guest (BPF_LINK_CREATE,
   * bpf_xdp_link_attach() in net/core/dev.c).
   *
   * @param mode where packets are seen: in the kernel's generic code, in the driver, or in the
   *   device; by default the driver decides
   */
  attachXdp(interfaceIndex: number, mode?: keyof typeof xdpModes): Promise<Link> {
    return this.#create(rows.LINK_CREATE_XDP, {
      prog_fd: this,
      target_ifindex: interfaceIndex,
      attach_type: AttachType.BPF_XDP,
      flags: mode === undefined ? 0 : xdpModes[mode],
    });
  }

  /**
   * Attaches a SCHED_CLS program to a network interface of the guest (BPF_LINK_CREATE,
   * tcx_link_attach() in kernel/bpf/tcx.c; since 6.6).
   */
  async attachTcx(
    interfaceIndex: number,
    direction: 'ingress' | 'egress',
    order: AttachOrder = {},
  ): Promise<Link> {
    refuseUnknownOptions('attachTcx()', order, orderNames);
    const { BPF_TCX_INGRESS, BPF_TCX_EGRESS } = AttachType;
    return this.#create(rows.LINK_CREATE_TCX, {
      prog_fd: this,
      target_ifindex: interfaceIndex,
      attach_type: direction === 'ingress' ? BPF_TCX_INGRESS : BPF_TCX_EGRESS,
      ...orderArguments(order),
    });
  }

  /**
   * Attaches a SCHED_CLS program to a netkit device of the guest (BPF_LINK_CREATE,
   * netkit_link_attach() in drivers/net/netkit.c; since 6.7).
   *
   * @param end what leaves the device itself, or its peer
   */
  async attachNetkit(
    interfaceIndex: number,
    end: 'primary' | 'peer',
    order: AttachOrder = {},
  ): Promise<Link> {
    refuseUnknownOptions('attachNetkit()', order, orderNames);
    const { BPF_NETKIT_PRIMARY, BPF_NETKIT_PEER } = AttachType;
    return this.#create(rows.LINK_CREATE_NETKIT, {
      prog_fd: this,
      target_ifindex: interfaceIndex,
      attach_type: end === 'primary' ? BPF_NETKIT_PRIMARY : BPF_NETKIT_PEER,
      ...orderArguments(order),
    });
  }

  /**
   * Attaches an SK_MSG or SK_SKB program to a SOCKMAP or SOCKHASH (BPF_LINK_CREATE,
   * sock_map_link_create() in net/core/sock_map.c; since 6.10).
   */
  attachSockmap(map: Ref<'map'>, attachType = this.expectedAttachType): Promise<Link> {
    const values = { prog_fd: this, target_fd: map, attach_type: attachType };
    return this.#create(rows.LINK_CREATE_SOCKMAP, values);
  }

  /**
   * Attaches a KPROBE program that was loaded with TRACE_KPROBE_MULTI to many functions at once
   * (BPF_LINK_CREATE, bpf_kprobe_multi_link_attach() in kernel/trace/bpf_trace.c; since 5.18).
   */
  async attachKprobes(targets: KprobeTargets): Promise<Link> {
    refuseUnknownOptions('attachKprobes()', targets, kprobesNames);
    const { symbols, addresses, cookies, onReturn = false } = targets;
    return this.#create(rows.LINK_CREATE_KPROBE_MULTI, {
      prog_fd: this,
      attach_type: this.expectedAttachType || AttachType.BPF_TRACE_KPROBE_MULTI,
      kprobe_flags: onReturn ? 1 : 0,
      ...(symbols === undefined ? {} : { syms: symbols }),
      ...(addresses === undefined ? {} : { addrs: words(addresses) }),
      ...(cookies === undefined ? {} : { cookies: words(cookies) }),
    });
  }

  /**
   * Attaches a KPROBE program that was loaded with TRACE_UPROBE_MULTI to places of a program file
   * of the guest (BPF_LINK_CREATE, bpf_uprobe_multi_link_attach() in kernel/trace/bpf_trace.c;
   * since 6.6).
   */
  async attachUprobes(targets: UprobeTargets): Promise<Link> {
    refuseUnknownOptions('attachUprobes()', targets, uprobesNames);
    const { path, offsets, referenceCounters, cookies, pid, onReturn = false } = targets;
    return this.#create(rows.LINK_CREATE_UPROBE_MULTI, {
      prog_fd: this,
      attach_type: this.expectedAttachType || AttachType.BPF_TRACE_UPROBE_MULTI,
      uprobe_flags: onReturn ? 1 : 0,
      path,
      offsets: words(offsets),
      ...(referenceCounters === undefined ? {} : { ref_ctr_offsets: words(referenceCounters) }),
      ...(cookies === undefined ? {} : { cookies: words(cookies) }),
      ...(pid === undefined ? {} : { pid }),
    });
  }

  /**
   * Attaches a TRACEPOINT program to a tracepoint, such as `sched/sched_switch`, on all CPUs, by a
   * perf event.
   *
   * @throws ENOENT when there is no such tracepoint
   */
  async attachTracepoint(
    name: string,
    options: { cookie?: number | bigint } = {},
  ): Promise<PerfAttachment> {
    refuseUnknownOptions('attachTracepoint()', options, cookieNames);
    return attachToEvent(this, await tracepointEvent(this.session, name), options.cookie);
  }

  /**
   * Attaches a KPROBE program to one function by a perf event, on any kernel with kprobes;
   * {@link attachKprobes} attaches to many at once.
   */
  async attachKprobe(target: KprobeTarget): Promise<PerfAttachment> {
    return attachToEvent(this, await kprobeEvent(this.session, target), target.cookie);
  }

  /**
   * Attaches a KPROBE program to one place in a program file of the guest by a perf event, on any
   * kernel with uprobes; {@link attachUprobes} attaches to many at once.
   */
  async attachUprobe(target: UprobeTarget): Promise<PerfAttachment> {
    return attachToEvent(this, await uprobeEvent(this.session, target), target.cookie);
  }

  /**
   * Attaches a TRACEPOINT, KPROBE or PERF_EVENT program to an event that
   * {@link Session.openPerfEvent} has opened (BPF_LINK_CREATE, bpf_perf_link_attach() in
   * kernel/bpf/syscall.c; before 5.15 PERF_EVENT_IOC_SET_BPF). Closing the result detaches it.
   *
   * @param options `cookie` is what bpf_get_attach_cookie() returns, since 5.15
   */
  async attachPerfEvent(
    event: PerfEvent,
    options: { cookie?: number | bigint } = {},
  ): Promise<PerfAttachment> {
    refuseUnknownOptions('attachPerfEvent()', options, cookieNames);
    return attachPerfEvent(this, event, options.cookie);
  }

  /**
   * Attaches a FLOW_DISSECTOR or SK_LOOKUP program to a network namespace of the guest
   * (BPF_LINK_CREATE, netns_bpf_link_create() in kernel/bpf/net_namespace.c).
   *
   * @param netns its file in the guest, such as `/proc/1/ns/net`, or what
   *   {@link Session.openObject} opened
   */
  async attachNetns(
    netns: string | Ref<'netns'>,
    attachType = this.expectedAttachType,
  ): Promise<Link> {
    if (typeof netns !== 'string') {
      const values = { prog_fd: this, target_fd: netns, attach_type: attachType };
      return this.#create(rows.LINK_CREATE_NETNS, values);
    }
    await using opened = await openObject(this.session, 'netns', netns);
    return await this.attachNetns(opened, attachType);
  }

  /**
   * Attaches a NETFILTER program (BPF_LINK_CREATE, bpf_nf_link_attach() in
   * net/netfilter/nf_bpf_link.c; since 6.4).
   *
   * @param target `protocolFamily` and `hook` are NFPROTO_* and NF_INET_*; programs run in the
   *   order of their priorities
   */
  async attachNetfilter(target: {
    protocolFamily: number;
    hook: number;
    priority: number;
  }): Promise<Link> {
    refuseUnknownOptions('attachNetfilter()', target, netfilterNames);
    return this.#create(rows.LINK_CREATE_NETFILTER, {
      prog_fd: this,
      attach_type: AttachType.BPF_NETFILTER,
      pf: target.protocolFamily,
      hooknum: target.hook,
      priority: target.priority,
    });
  }

  /**
   * Makes an iterator of a TRACING program that was loaded with TRACE_ITER (BPF_LINK_CREATE,
   * bpf_iter_link_attach() in kernel/bpf/bpf_iter.c). {@link Link.iterate} runs it.
   *
   * @param over what it is restricted to; by default nothing. A program that goes over the elements
   *   of a map needs the map
   */
  async attachIterator(over: IteratorScope = {}): Promise<Link> {
    refuseUnknownOptions('attachIterator()', over, iteratorNames);
    const common = { prog_fd: this, attach_type: AttachType.BPF_TRACE_ITER };
    if ('map' in over) {
      const values = { ...common, iter_info: { map_fd: over.map } };
      return this.#create(rows.LINK_CREATE_ITER_MAP, values);
    }
    if ('cgroup' in over) {
      const values = { ...common, iter_info: { cgroup_fd: over.cgroup, order: over.order } };
      return this.#create(rows.LINK_CREATE_ITER_CGROUP, values);
    }
    if ('thread' in over) {
      return this.#create(rows.LINK_CREATE_ITER_TASK, {
        ...common,
        iter_info: { tid: over.thread },
      });
    }
    if ('process' in over) {
      return this.#create(rows.LINK_CREATE_ITER_TASK, {
        ...common,
        iter_info: { pid: over.process },
      });
    }
    return this.#create(rows.LINK_CREATE_ITER, common);
  }

  /**
   * Runs the program once, or many times, on data of the caller's (BPF_PROG_TEST_RUN,
   * bpf_prog_test_run() in kernel/bpf/syscall.c).
   *
   * @throws ENOTSUPP where programs of its type cannot be run so; ENOSPC when what it returns is
   *   larger than the room for it
   */
  testRun(options: TestRunOptions = {}): Promise<TestRun> {
    return testRun(this, options, this.#about);
  }

  /**
   * Keeps a map for as long as the program is there, without using it (BPF_PROG_BIND_MAP,
   * bpf_prog_bind_map() in kernel/bpf/syscall.c).
   */
  async bindMap(map: Ref<'map'>): Promise<void> {
    await this.session.bpf(rows.PROG_BIND_MAP, { prog_fd: this, map_fd: map }, this.#about);
  }

  /** Returns the kernel's information about the program; see {@link ProgramInfo}. */
  info(): Promise<ProgramInfo> {
    return readProgramInfo(this.session, this, this.#about);
  }

  /**
   * The instructions as the verifier left them (`xlated_prog_insns`).
   *
   * @throws EPERM, or an empty array, where the kernel does not show them: kernel.bpf_jit_harden
   */
  async translated(): Promise<Uint8Array> {
    const { translatedBytes } = await this.info();
    const values = { bpf_fd: this, info: { xlated_prog_len: translatedBytes } };
    const { info } = await this.session.bpf(rows.OBJ_GET_INFO_BY_FD_PROG, values, this.#about);
    return info.xlated_prog_insns ?? new Uint8Array(0);
  }

  /**
   * The types of the program itself.
   *
   * @throws ERR_BTF_TYPE when it was loaded without
   */
  async types(): Promise<BtfTypes> {
    const { btfId } = await this.info();
    if (btfId === 0) {
      throw failure('ERR_BTF_TYPE', {
        type: `of ${this}`,
        why: 'it was loaded without types',
        cure: 'Compile it with -g, and load it with its BTF.',
      });
    }
    await using btf = await openBtf(this.session, btfId);
    return await btf.types();
  }

  /**
   * Reads what the program has printed to one of its streams, and takes it out of there
   * (BPF_PROG_STREAM_READ_BY_FD, since 6.17).
   *
   * @param stream 1 for its output, 2 for the kernel's complaints about it
   */
  async readStream(stream: 1 | 2, lengthBytes = 64 * 1024): Promise<string> {
    const values = { prog_fd: this, stream_id: stream, stream_buf_len: lengthBytes };
    const row = rows.PROG_STREAM_READ_BY_FD;
    const { stream_buf } = await this.session.bpf(row, values, this.#about);
    return Buffer.from(stream_buf ?? []).toString();
  }

  #to(target: string): BpfOptions {
    return { subject: { toString: () => `${this} to ${target}` } };
  }

  #link(handle: Handle): Link {
    return new Link(this.session, handle, this.name);
  }

  async #create<C extends LinkRow>(
    row: C,
    values: Parameters<typeof this.session.bpf<C>>[1],
  ): Promise<Link> {
    const { handle } = await this.session.bpf(row, values, this.#about);
    return this.#link(handle);
  }
}

type Rows = typeof rows;
type LinkRow = Rows[Extract<keyof Rows, `LINK_CREATE_${string}`>];

const BPF_STATS_RUN_TIME = 0;

/** Has the kernel count runs of programs; see {@link Session.enableStatistics}. */
export async function enableStatistics(session: GuestKernel): Promise<GuestObject<'stats'>> {
  const { handle } = await session.bpf(rows.ENABLE_STATS, { type: BPF_STATS_RUN_TIME });
  return new GuestObject(session, handle, 'stats', '', true);
}

/** `XDP_FLAGS_*_MODE` of <linux/if_link.h>. */
const xdpModes = { generic: 2, driver: 4, device: 8 } as const;

function orderArguments({ before, after, expectedRevision }: AttachOrder) {
  const { BPF_F_BEFORE, BPF_F_AFTER } = enums.AttachFlag;
  const relative = before ?? after;
  const side = before !== undefined ? BPF_F_BEFORE : after !== undefined ? BPF_F_AFTER : 0;
  const isLink = relative?.kind === 'link' ? enums.ObjectFlag.BPF_F_LINK : 0;
  return {
    flags: side | isLink,
    ...(relative === undefined ? {} : { relative_fd: relative as Ref<'prog' | 'link'> }),
    ...(expectedRevision === undefined ? {} : { expected_revision: expectedRevision }),
  };
}

function words(values: readonly bigint[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values).buffer);
}
