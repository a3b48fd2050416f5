import {
  type Arguments,
  type Command,
  type Encoded,
  encode,
  KnownMaps,
  type Results,
  rows,
} from '../bpf/index.js';
import type { Call, Handle, Reply } from '../call.js';
import type { SystemError } from '../errors.js';
import type { KernelFacts } from '../frame/index.js';
import { causeOf } from './causes.js';
import { BpfMap, type MapOptions } from './map.js';
import { loadProgram, type Program, type ProgramOptions } from './program.js';

/** Options of one call. */
export interface CallOptions {
  /**
   * How long to wait for the answer, in milliseconds; from a second on, up to half a second more
   * may pass. Default: the session's `callTimeoutMs`.
   */
  timeoutMs?: number | undefined;
  /** Stops waiting. The call itself may still take effect in the guest. */
  signal?: AbortSignal | undefined;
  /** What errors call it, such as `BPF_PROG_LOAD`. */
  name?: string;
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
  /** The error of a call that was refused. */
  error(): SystemError;
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
  protected readonly maps: KnownMaps;

  constructor(kernel: KernelFacts) {
    this.kernel = kernel;
    this.maps = new KnownMaps(kernel.possibleCpus);
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
  abstract open(path: string, options?: CallOptions): Promise<Handle>;
  /** Reads from what a handle stands for. */
  abstract read(
    handle: Handle,
    lengthBytes: number,
    options?: CallOptions,
  ): Promise<Uint8Array | undefined>;
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
    const encoded = encode(shape, values, this.maps, handle);
    const answer = this.start(encoded.call, options, shape.name);
    const reply = answer instanceof Promise ? await answer : answer;
    if (reply.result < 0) throw refused(encoded, reply, options);
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
    const encoded = encode(shape, values, this.maps, handle);
    const reply = await this.start(encoded.call, options, shape.name);
    return {
      result: reply.result,
      errno: reply.errno,
      handle,
      values: () => encoded.decode(reply),
      error: () => refused(encoded, reply, options),
    };
  }

  #resultHandle(shape: Command, options: BpfOptions | undefined): Handle {
    return shape.returns === 'fd' ? (options?.handle ?? this.newHandle()) : 0;
  }

  /**
   * Creates a map in the guest (BPF_MAP_CREATE, map_create() in kernel/bpf/syscall.c).
   *
   * @throws EINVAL for sizes or flags that the type does not have, ENOMEM, EPERM
   */
  async createMap(options: MapOptions): Promise<BpfMap> {
    const { type, keySize, valueSize, maxEntries, flags = 0, name = '' } = options;
    const values = {
      map_type: type,
      key_size: keySize,
      value_size: valueSize,
      max_entries: maxEntries,
      map_flags: flags,
      map_name: name,
    };
    const { handle } = await this.bpf(rows.MAP_CREATE, values);
    this.maps.created(handle, values);
    return new BpfMap(this, handle, { type, keySize, valueSize, maxEntries, flags });
  }

  /**
   * Has the guest's kernel verify and load a program (BPF_PROG_LOAD, bpf_prog_load() in
   * kernel/bpf/syscall.c).
   *
   * @throws the guest's system error, usually EACCES or EINVAL, whose `log` is the verifier's
   */
  loadProgram(options: ProgramOptions): Promise<Program> {
    return loadProgram(this, options);
  }
}

function refused<C extends Command>(
  encoded: Encoded<C>,
  reply: Reply,
  options: BpfOptions | undefined,
): SystemError {
  const why = causeOf(encoded.shape.name, reply.errno);
  return encoded.error(reply, { object: options?.subject?.toString(), why });
}
