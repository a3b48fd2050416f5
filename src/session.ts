import type { Duplex } from 'node:stream';
import type { Arguments, Command, Results } from './bpf/index.js';
import type { BtfTypes } from './btf/index.js';
import type { Handle } from './call.js';
import { type Attached, attached, type Place } from './kernel/attached.js';
import { BpfCalls, type BpfOptions, type Outcome } from './kernel/bpf-calls.js';
import { type Btf, kernelTypes, loadBtf, openBtf } from './kernel/btf.js';
import type { GuestKernel } from './kernel/guest-kernel.js';
import { type FileKind, type GuestObject, openObject } from './kernel/guest-object.js';
import {
  type BtfInfo,
  type LinkInfo,
  type MapInfo,
  type ProgramInfo,
  readBtfInfo,
  readLinkInfo,
  readProgramInfo,
} from './kernel/info.js';
import { type Link, openLink } from './kernel/link.js';
import { loadProgram, openProgram, type ProgramOptions } from './kernel/load.js';
import type { BpfMap } from './kernel/map.js';
import type { MapCodecs, MapOptions } from './kernel/map-options.js';
import { createMap, eachMap, type MapOf, openMap, type SizesOf } from './kernel/maps.js';
import { each, type Where } from './kernel/objects.js';
import { openPerfEvent, type PerfEvent, type PerfEventOptions } from './kernel/perf-event.js';
import { enableStatistics, type Program } from './kernel/program.js';
import { type Symbolized, symbolize } from './kernel/symbols.js';
import { refuseUnknownOptions } from './known-options.js';
import { type CallOptions, type Patience, patienceNames } from './session/caller.js';
import { Conversation, checkSessionOptions, type SessionOptions } from './session/conversation.js';
import { hello, type Welcomed } from './session/handshake.js';
import { securing } from './session/start-tls.js';

/** Makes a session of a connection on which the agent has answered. */
export let sessionOver: (welcomed: Welcomed, options: SessionOptions) => Session;

/**
 * The kernel of one guest: its maps, programs, links and types, reached through the guest's agent.
 *
 * Everything that a session creates in the guest ends with the session. Sessions share nothing: a
 * handle is valid in its own session only.
 */
export class Session extends Conversation implements GuestKernel {
  readonly calls: BpfCalls;

  private constructor(welcomed: Welcomed, options: SessionOptions) {
    super(welcomed, options);
    this.calls = new BpfCalls(this);
  }

  static {
    sessionOver = (welcomed, options) => new Session(welcomed, options);
  }

  /**
   * Connects to an agent and opens a session.
   *
   * Over vsock, root connects from a port below 1024, unless `localPort` names another. Such a port
   * proves to the agent that the peer is privileged on the host.
   *
   * @example
   * ```ts
   * await using session = await Session.connect('vsock:3:1024', { leaseMs: 20_000 });
   * console.log(session.kernel.release, session.leaseMs);
   * ```
   *
   * @param target an address such as `vsock:3:1024`, or a stream that is already connected to an
   *   agent; the session owns it from then on
   * @throws ERR_OPTION_UNKNOWN, ERR_OPTION_INVALID; the transport's errors; ERR_HANDSHAKE_TIMEOUT, ERR_PROTOCOL_VERSION, ERR_PEER_REFUSED
   */
  static async connect(target: string | Duplex, options: SessionOptions = {}): Promise<Session> {
    checkSessionOptions(options);
    const { callTimeoutMs, maxQueuedBytes, tls, ...how } = options;
    return new Session(await hello(target, how, { secure: securing(tls) }), options);
  }

  override release(handles: readonly Handle[], options?: CallOptions): Promise<void> {
    for (const handle of handles) {
      this.calls.knownMaps.closed(handle);
      this.calls.collected.closed(handle);
    }
    return super.release(handles, options);
  }

  override releaseAll(options?: CallOptions): Promise<void> {
    this.calls.knownMaps.clear();
    this.calls.collected.clear();
    return super.releaseAll(options);
  }

  bpf<C extends Command>(
    shape: C,
    values: Arguments<C>,
    options?: BpfOptions,
  ): Promise<Results<C> & { handle: Handle; result: number }> {
    return this.calls.bpf(shape, values, options);
  }

  tryBpf<C extends Command>(
    shape: C,
    values: Arguments<C>,
    options?: BpfOptions,
  ): Promise<Outcome<C>> {
    return this.calls.tryBpf(shape, values, options);
  }

  /**
   * Creates a map in the guest (BPF_MAP_CREATE, map_create() in kernel/bpf/syscall.c).
   *
   * @example
   * ```ts
   * const counts = await session.createMap({
   *   type: enums.MapType.BPF_MAP_TYPE_HASH,
   *   key: u32,
   *   value: struct({ calls: u64, comm: text(16) }),
   *   maxEntries: 1024,
   * });
   * ```
   *
   * @throws ERR_OPTION_INVALID for what no kernel takes: sizes, entries, flags and names that the
   *   type does not have, and codecs that do not fit; EINVAL for what this kernel does not take,
   *   ENOMEM, EPERM
   */
  async createMap<
    K = Uint8Array,
    V = Uint8Array,
    KIn = K,
    VIn = V,
    const Type extends number = number,
  >(
    options: MapOptions<K, V, KIn, VIn> & { type: Type } & SizesOf<Type>,
  ): Promise<MapOf<Type, K, V, KIn, VIn>> {
    // At run time all maps are of one class, which refuses what the type of the map does not have.
    const map: unknown = await createMap(this, options);
    return map as MapOf<Type, K, V, KIn, VIn>;
  }

  /**
   * Opens a map that is there already, by id or by path (BPF_MAP_GET_FD_BY_ID or BPF_OBJ_GET), and
   * asks for its sizes.
   *
   * @example
   * ```ts
   * await using pinned = await session.map({ path: '/sys/fs/bpf/calls' }, { key: u32, value: u64 });
   * console.log(await pinned.lookup(0));
   * ```
   *
   * @param options codecs; and `flags`: BPF_F_RDONLY, which the profile `observe` insists on, or
   *   BPF_F_WRONLY
   * @throws ENOENT when it is not there; ERR_OPTION_INVALID for codecs that do not fit
   */
  async map<K = Uint8Array, V = Uint8Array, KIn = K, VIn = V>(
    where: Where,
    options: MapCodecs<K, V, KIn, VIn> & { flags?: number } & Patience = {},
  ): Promise<BpfMap<K, V, KIn, VIn>> {
    const names = { key: true, value: true, flags: true, ...patienceNames } as const;
    refuseUnknownOptions('map()', options, names);
    return openMap(this, where, options);
  }

  /** Yields what the kernel says about every map in the guest (BPF_MAP_GET_NEXT_ID). */
  maps(): AsyncGenerator<MapInfo> {
    return eachMap(this);
  }

  /**
   * Has the guest's kernel verify and load a program (BPF_PROG_LOAD, bpf_prog_load() in
   * kernel/bpf/syscall.c).
   *
   * @example
   * ```ts
   * const program = await session.loadProgram({
   *   type: enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
   *   instructions: insn.program(insn.mov('r0', 0), insn.exit()),
   *   license: 'GPL',
   * });
   * await using link = await program.attachRawTracepoint('sys_enter');
   * ```
   *
   * @throws the guest's system error, usually EACCES or EINVAL, whose `log` is the verifier's and
   *   whose `logTrueSize`, since 6.4, is the length that all of it would have
   */
  loadProgram(options: ProgramOptions): Promise<Program> {
    return loadProgram(this, options);
  }

  /** Opens a program that is there already, by id or by path (BPF_PROG_GET_FD_BY_ID, BPF_OBJ_GET). */
  async program(where: Where, patience: Patience = {}): Promise<Program> {
    refuseUnknownOptions('program()', patience, patienceNames);
    return openProgram(this, where, patience);
  }

  /**
   * Yields what the kernel says about every program in the guest (BPF_PROG_GET_NEXT_ID).
   *
   * @example
   * ```ts
   * for await (const { id, name, tag } of session.programs()) console.log(id, name, tag);
   * ```
   */
  programs(): AsyncGenerator<ProgramInfo> {
    return each(this, 'prog', 0, (program) => readProgramInfo(this, program));
  }

  /** Opens a link that is there already, by id or by path (BPF_LINK_GET_FD_BY_ID, BPF_OBJ_GET). */
  async link(where: Where, patience: Patience = {}): Promise<Link> {
    refuseUnknownOptions('link()', patience, patienceNames);
    return openLink(this, where, patience);
  }

  /** Yields what the kernel says about every link in the guest (BPF_LINK_GET_NEXT_ID). */
  links(): AsyncGenerator<LinkInfo> {
    return each(this, 'link', 0, (link) => readLinkInfo(this, link));
  }

  /**
   * Loads types, for programs and maps to refer to (BPF_BTF_LOAD, btf_new_fd() in
   * kernel/bpf/btf.c).
   *
   * @throws the guest's system error, whose `log` says what is wrong with them
   */
  async loadBtf(btf: Uint8Array, patience: Patience = {}): Promise<Btf> {
    refuseUnknownOptions('loadBtf()', patience, patienceNames);
    return loadBtf(this, btf, patience);
  }

  /** Opens types that are there already (BPF_BTF_GET_FD_BY_ID). */
  async btf(where: { readonly id: number }, patience: Patience = {}): Promise<Btf> {
    refuseUnknownOptions('btf()', patience, patienceNames);
    return openBtf(this, where.id, patience);
  }

  /** Yields what the kernel says about all types in the guest (BPF_BTF_GET_NEXT_ID). */
  btfs(): AsyncGenerator<BtfInfo> {
    return each(this, 'btf', 0, (btf) => readBtfInfo(this, btf));
  }

  /**
   * The types of the guest's kernel itself. They are fetched once: some megabytes.
   *
   * @example
   * ```ts
   * const types = await session.kernelTypes();
   * console.log(types.sizeOf(types.named('struct task_struct')));
   * ```
   */
  kernelTypes(): Promise<BtfTypes> {
    return kernelTypes(this);
  }

  /**
   * Finds out what lies at addresses, such as those of stacks: the function of the guest's kernel
   * (/proc/kallsyms), and of a process's addresses the file that it has mapped there
   * (/proc/PID/maps). What nothing is known of is `undefined`. The guest's symbols are some
   * megabytes, and are read anew each time: ask for many addresses at once.
   *
   * @example
   * ```ts
   * const names = await session.symbolize((await stacks.lookup(id)) ?? []);
   * for (const one of names) if (one !== undefined) console.log(`${one.name}+${one.offset}`);
   * ```
   *
   * @param options `pid`: the process of the guest that addresses of the lower half are in
   * @throws ERR_POLICY_REFUSED where the guest's policy lets neither be read; ERR_KERNEL_LACKS where
   *   the kernel hides its addresses from the agent; ENOENT when there is no such process
   */
  async symbolize(
    addresses: Iterable<bigint>,
    options: { pid?: number } = {},
  ): Promise<(Symbolized | undefined)[]> {
    refuseUnknownOptions('symbolize()', options, { pid: true });
    return symbolize(this, addresses, options.pid);
  }

  /**
   * Has the kernel count how often programs run, and for how long, until the result is closed
   * (BPF_ENABLE_STATS, bpf_enable_stats() in kernel/bpf/syscall.c); {@link Program.info} has the
   * counts. It costs every program in the guest some time at every run.
   *
   * @example
   * ```ts
   * await using _counting = await session.enableStatistics();
   * const { runCount, runTimeNs } = await program.info();
   * ```
   */
  enableStatistics(): Promise<GuestObject<'stats'>> {
    return enableStatistics(this);
  }

  /**
   * What is attached to a cgroup, a network interface or a network namespace (BPF_PROG_QUERY,
   * bpf_prog_query() in kernel/bpf/syscall.c).
   *
   * @example
   * ```ts
   * const { BPF_CGROUP_INET_EGRESS } = enums.AttachType;
   * const { programs } = await session.attached({ cgroup: '/sys/fs/cgroup' }, BPF_CGROUP_INET_EGRESS);
   * ```
   *
   * @param attachType `BPF_*` attach type
   * @param options `effective`: of a cgroup, also what those above it have attached
   */
  attached(
    place: Place,
    attachType: number,
    options: { effective?: boolean } & Patience = {},
  ): Promise<Attached> {
    return attached(this, place, attachType, options);
  }

  /**
   * Opens a perf event (perf_event_open() in kernel/events/core.c): a counter, and a place to attach
   * a program to.
   *
   * @example
   * ```ts
   * const PERF_TYPE_SOFTWARE = 1;
   * const PERF_COUNT_SW_CONTEXT_SWITCHES = 3;
   * await using switches = await session.openPerfEvent({
   *   type: PERF_TYPE_SOFTWARE,
   *   config: PERF_COUNT_SW_CONTEXT_SWITCHES,
   *   cpu: 0,
   * });
   * const [count] = await switches.read();
   * ```
   *
   * @throws the guest's system error, such as ENOENT for what its hardware does not have;
   *   ERR_POLICY_REFUSED
   */
  openPerfEvent(options: PerfEventOptions): Promise<PerfEvent> {
    return openPerfEvent(this, options);
  }

  /**
   * Opens a file or a folder of the guest that calls refer to by descriptor, such as a cgroup's
   * folder, if the guest's policy allows.
   *
   * @example
   * ```ts
   * await using cgroup = await session.openObject('cgroup', '/sys/fs/cgroup/system.slice');
   * await using link = await program.attachCgroup(cgroup);
   * ```
   *
   * @throws the guest's system error, ERR_POLICY_REFUSED
   */
  async openObject<K extends FileKind>(
    kind: K,
    path: string,
    patience: Patience = {},
  ): Promise<GuestObject<K>> {
    refuseUnknownOptions('openObject()', patience, patienceNames);
    return openObject(this, kind, path, patience);
  }
}
