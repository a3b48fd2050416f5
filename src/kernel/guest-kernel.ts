import {
  type Arguments,
  type Command,
  type Encoded,
  encode,
  enums,
  KnownMaps,
  type MapFacts,
  type Results,
  rows,
} from '../bpf/index.js';
import type { BtfTypes } from '../btf/index.js';
import type { Call, Handle, IoctlCall, PerfOpenCall, Reply } from '../call.js';
import type { SystemError } from '../errors.js';
import type { KernelFacts } from '../frame/index.js';
import type { GuestClock } from '../session/clock.js';
import type {
  BatchCallback,
  EventStream,
  StreamOptions,
  StreamOrigin,
} from '../session/event-stream.js';
import type { RingWriter } from '../session/ring-writer.js';
import { type Attached, attached, type Place } from './attached.js';
import { Btf, loadBtf, readKernelTypes } from './btf.js';
import { causeOf } from './causes.js';
import { Collector } from './collector.js';
import { GuestObject } from './guest-object.js';
import {
  type BtfInfo,
  type LinkInfo,
  type MapInfo,
  mapInfo,
  type ProgramInfo,
  readBtfInfo,
  readLinkInfo,
  readProgramInfo,
} from './info.js';
import { Link } from './link.js';
import { loadProgram, type ProgramOptions } from './load.js';
import { BpfMap } from './map.js';
import {
  boundCodecs,
  createArguments,
  factsOf,
  type MapCodecs,
  type MapOptions,
} from './map-options.js';
import { each, type FileKind, open, type Where } from './objects.js';
import { openPerfEvent, type PerfEvent, type PerfEventOptions } from './perf-event.js';
import { Program } from './program.js';

/** Options of one call. */
export interface CallOptions {
  /**
   * How long to wait for the answer, in milliseconds; from a second on, up to half a second more
   * may pass. Default: the session's `callTimeoutMs`.
   */
  timeoutMs?: number | undefined;
  /**
   * Stops waiting, and asks the guest to cancel the call: one that has not begun there never will,
   * and a run of the verifier is interrupted. Where that comes too late, an object that the call
   * makes is closed again.
   */
  signal?: AbortSignal | undefined;
  /** What errors call it, such as `BPF_PROG_LOAD`. */
  name?: string;
  /**
   * Whether the answer is wanted later, and other work comes first: the call is sent, and this
   * thread does not stay for its answer. Default: no.
   */
  ahead?: boolean;
  /** Whether outputs may come without the zeroes at their ends, as they travel. Default: no. */
  trimmed?: boolean;
}

/** Options of one bpf(2) call. */
export interface BpfOptions extends CallOptions {
  /** What an error says that it is about, such as `map "counts"`. */
  subject?: { toString(): string } | undefined;
  /** The handle that a new descriptor is bound to. Default: a new one. */
  handle?: Handle | undefined;
}

/** What a bpf(2) call came to, whether the guest's kernel made it or refused it. */
export interface Outcome<C extends Command> {
  /** The call's result, −1 when the kernel refused it, or the handle of the new descriptor. */
  readonly result: number;
  /** 0, or the kernel's positive errno. */
  readonly errno: number;
  /** The handle of the new descriptor, if there is one. */
  readonly handle: Handle;
  /** What the kernel wrote, much of which is valid when it refused the call, too. */
  values(): Results<C>;
  /** The error of a call that was refused; `subject` is what it was about. */
  error(subject?: { toString(): string }): SystemError;
}

/**
 * The guest's kernel as a program on the host sees it: its maps, programs, links and types.
 *
 * A {@link Session} is one, and says how calls get there.
 */
export abstract class GuestKernel {
  /** The address as it was given, or `stream`. */
  abstract readonly address: string;
  /** Facts about the guest's kernel. */
  readonly kernel: KernelFacts;
  /** Whether the session has ended. */
  abstract readonly closed: boolean;
  /** The sizes of the maps that this session knows. */
  protected readonly knownMaps: KnownMaps;
  /** Closes what is not referred to any more. */
  readonly collected: Collector;
  #kernelTypes: Promise<BtfTypes> | undefined;

  constructor(kernel: KernelFacts) {
    this.kernel = kernel;
    this.knownMaps = new KnownMaps(kernel.possibleCpus);
    this.collected = new Collector(this);
  }

  /** Returns a handle that has not been used in this session. */
  abstract newHandle(): Handle;
  /** Has a call executed in the guest, of whatever command. */
  abstract call(call: Call, options?: CallOptions): Promise<Reply>;
  /**
   * Like {@link call}, but a reply that is there at once is returned at once, which costs least,
   * and what keeps a call from being sent is thrown.
   *
   * @param name what errors call it
   */
  protected abstract start(
    call: Call,
    options: CallOptions | undefined,
    name: string | number,
  ): Reply | Promise<Reply>;
  /** Opens a file of the guest's kernel for reading. */
  abstract open(path: string, options?: CallOptions & { handle?: Handle }): Promise<Handle>;
  /** Reads from what a handle stands for. */
  abstract read(
    handle: Handle,
    lengthBytes: number,
    options?: CallOptions,
  ): Promise<Uint8Array | undefined>;
  /** Opens a perf event in the guest. */
  abstract perfEventOpen(call: PerfOpenCall, options?: CallOptions): Promise<Reply>;
  /** Makes an ioctl(2) on what a handle stands for. */
  abstract ioctl(call: IoctlCall, options?: CallOptions): Promise<Reply>;
  /** Reads the guest's clock; see {@link Session.readClock}. */
  abstract readClock(rounds?: number): Promise<GuestClock>;
  /** Has events of the guest delivered as they happen; see {@link Session.subscribe}. */
  abstract subscribe(
    origin: StreamOrigin,
    options: StreamOptions,
    callback: BatchCallback,
  ): Promise<EventStream>;
  /** Writes to a user ring buffer; see {@link BpfMap.submit}. */
  abstract ringWriter(map: Handle, sizeBytes: number): RingWriter;
  /** Closes handles in the guest. */
  abstract release(handles: readonly Handle[], options?: CallOptions): Promise<void>;

  /**
   * Makes one bpf(2) call in the guest from named values, and resolves with what the kernel wrote,
   * by the kernel's field names. For a command that returns a descriptor, `handle` names it.
   *
   * @param shape a row of the table, such as `rows.MAP_LOOKUP_ELEM`
   * @throws the guest's system error, with the verifier's log where there is one; ERR_BPF_* for
   *   values that do not fit; and what {@link call} throws
   */
  async bpf<C extends Command>(
    shape: C,
    values: Arguments<C>,
    options?: BpfOptions,
  ): Promise<Results<C> & { handle: Handle; result: number }> {
    const handle = this.#resultHandle(shape, options);
    const encoded = encode(shape, values, this.knownMaps, handle);
    const answer = this.start(encoded.call, options, shape.name);
    const reply = answer instanceof Promise ? await answer : answer;
    if (reply.result < 0) throw refused(encoded, reply, options?.subject);
    // Not a spread: copying an object whose keys the engine does not know costs microseconds.
    const results = encoded.decode(reply) as Results<C> & { handle: Handle; result: number };
    results.handle = handle;
    results.result = reply.result;
    return results;
  }

  /**
   * Makes one bpf(2) call like {@link bpf}, for a caller to whom an errno is an answer: logs,
   * counts and partial batches are valid on many failures.
   *
   * @throws what {@link bpf} throws, but for the guest's system errors
   */
  async tryBpf<C extends Command>(
    shape: C,
    values: Arguments<C>,
    options?: BpfOptions,
  ): Promise<Outcome<C>> {
    const handle = this.#resultHandle(shape, options);
    const encoded = encode(shape, values, this.knownMaps, handle);
    const reply = await this.start(encoded.call, options, shape.name);
    return {
      result: reply.result,
      errno: reply.errno,
      handle,
      values: () => encoded.decode(reply),
      error: (subject) => refused(encoded, reply, subject ?? options?.subject),
    };
  }

  #resultHandle(shape: Command, options: BpfOptions | undefined): Handle {
    return shape.returns === 'fd' ? (options?.handle ?? this.newHandle()) : 0;
  }

  /**
   * Creates a map in the guest (BPF_MAP_CREATE, map_create() in kernel/bpf/syscall.c).
   *
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
  async createMap<K = Uint8Array, V = Uint8Array, KIn = K, VIn = V>(
    options: MapOptions<K, V, KIn, VIn>,
  ): Promise<BpfMap<K, V, KIn, VIn>> {
    const values = createArguments(options, this.kernel.pageSize);
    const facts = factsOf(values);
    const { name = '' } = options;
    // Before the map is there, so that a codec that does not fit leaves nothing behind.
    boundCodecs(options, facts, this.kernel.possibleCpus);
    const about = name === '' ? undefined : { subject: `map "${name}"` };
    const { handle } = await this.bpf(rows.MAP_CREATE, values, about);
    this.knownMaps.created(handle, values);
    return new BpfMap(this, handle, facts, options, name);
  }

  /**
   * Opens a map that is there already, by id or by path (BPF_MAP_GET_FD_BY_ID or BPF_OBJ_GET), and
   * asks for its sizes.
   *
   * @param options codecs; and `flags`: BPF_F_RDONLY, which the profile `observe` insists on, or
   *   BPF_F_WRONLY
   * @throws ENOENT when it is not there; ERR_OPTION_INVALID for codecs that do not fit
   */
  async map<K = Uint8Array, V = Uint8Array, KIn = K, VIn = V>(
    where: Where,
    options: MapCodecs<K, V, KIn, VIn> & { flags?: number } = {},
  ): Promise<BpfMap<K, V, KIn, VIn>> {
    const handle = await open(this, 'map', where, options.flags);
    try {
      const { info } = await this.bpf(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: { handle } });
      this.knownMaps.learned(handle, info);
      const facts = this.knownMaps.mapFacts(handle) as MapFacts;
      return new BpfMap(this, handle, facts, options, info.name);
    } catch (error) {
      await this.release([handle]);
      throw error;
    }
  }

  /** Yields what the kernel says about every map in the guest (BPF_MAP_GET_NEXT_ID). */
  maps(): AsyncGenerator<MapInfo> {
    return each(this, 'map', BPF_F_RDONLY, async (map) => {
      const { info } = await this.bpf(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd: map });
      return mapInfo(info);
    });
  }

  /**
   * Has the guest's kernel verify and load a program (BPF_PROG_LOAD, bpf_prog_load() in
   * kernel/bpf/syscall.c).
   *
   * @throws the guest's system error, usually EACCES or EINVAL, whose `log` is the verifier's and
   *   whose `logTrueSize`, since 6.4, is the length that all of it would have
   */
  loadProgram(options: ProgramOptions): Promise<Program> {
    return loadProgram(this, options);
  }

  /** Opens a program that is there already, by id or by path (BPF_PROG_GET_FD_BY_ID, BPF_OBJ_GET). */
  async program(where: Where): Promise<Program> {
    const handle = await open(this, 'prog', where);
    const { type, name } = await readProgramInfo(this, { handle });
    return new Program(this, handle, { type, name, expectedAttachType: 0, log: '' });
  }

  /** Yields what the kernel says about every program in the guest (BPF_PROG_GET_NEXT_ID). */
  programs(): AsyncGenerator<ProgramInfo> {
    return each(this, 'prog', 0, (program) => readProgramInfo(this, program));
  }

  /** Opens a link that is there already, by id or by path (BPF_LINK_GET_FD_BY_ID, BPF_OBJ_GET). */
  async link(where: Where): Promise<Link> {
    return new Link(this, await open(this, 'link', where));
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
  loadBtf(btf: Uint8Array): Promise<Btf> {
    return loadBtf(this, btf);
  }

  /** Opens types that are there already (BPF_BTF_GET_FD_BY_ID). */
  async btf(where: { readonly id: number }): Promise<Btf> {
    return new Btf(this, await open(this, 'btf', { id: where.id }));
  }

  /** Yields what the kernel says about all types in the guest (BPF_BTF_GET_NEXT_ID). */
  btfs(): AsyncGenerator<BtfInfo> {
    return each(this, 'btf', 0, (btf) => readBtfInfo(this, btf));
  }

  /** The types of the guest's kernel itself. They are fetched once: some megabytes. */
  kernelTypes(): Promise<BtfTypes> {
    this.#kernelTypes ??= readKernelTypes(this).catch((error: unknown) => {
      this.#kernelTypes = undefined;
      throw error;
    });
    return this.#kernelTypes;
  }

  /**
   * Has the kernel count how often programs run, and for how long, until the result is closed
   * (BPF_ENABLE_STATS, bpf_enable_stats() in kernel/bpf/syscall.c); {@link Program.info} has the
   * counts. It costs every program in the guest some time at every run.
   */
  async enableStatistics(): Promise<GuestObject<'stats'>> {
    const { handle } = await this.bpf(rows.ENABLE_STATS, { type: BPF_STATS_RUN_TIME });
    return new GuestObject(this, handle, 'stats', '', true);
  }

  /**
   * What is attached to a cgroup, a network interface or a network namespace (BPF_PROG_QUERY,
   * bpf_prog_query() in kernel/bpf/syscall.c).
   *
   * @param attachType `BPF_*` attach type
   * @param options `effective`: of a cgroup, also what those above it have attached
   */
  attached(
    place: Place,
    attachType: number,
    options: { effective?: boolean } = {},
  ): Promise<Attached> {
    return attached(this, place, attachType, options.effective === true);
  }

  /**
   * Opens a perf event (perf_event_open() in kernel/events/core.c): a counter, and a place to attach
   * a program to.
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
   * @throws the guest's system error, ERR_POLICY_REFUSED
   */
  async openObject<K extends FileKind>(kind: K, path: string): Promise<GuestObject<K>> {
    return new GuestObject(this, await this.open(path), kind, path);
  }
}

const { BPF_F_RDONLY } = enums.ObjectFlag;
const BPF_STATS_RUN_TIME = 0;

function refused<C extends Command>(
  encoded: Encoded<C>,
  reply: Reply,
  subject: BpfOptions['subject'],
): SystemError {
  const why = causeOf(encoded.shape.name, reply.errno);
  return encoded.error(reply, {
    ...(subject === undefined ? {} : { object: String(subject) }),
    ...(why === undefined ? {} : { why }),
  });
}
