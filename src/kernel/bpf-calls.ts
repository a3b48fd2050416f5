import {
  type Arguments,
  type Command,
  type Encoded,
  encode,
  KnownMaps,
  type Results,
} from '../bpf/index.js';
import { type Handle, handlesIn, type Reply } from '../call.js';
import type { SystemError } from '../errors.js';
import { type OptionNames, refuseUnknownOptions } from '../known-options.js';
import { type Caller, type CallOptions, callNames, type Patience } from '../session/caller.js';
import { causeOf } from './causes.js';
import { Collector } from './collector.js';

/** Options of one bpf(2) call. */
export interface BpfOptions extends CallOptions {
  /** The object that an error names, such as `map "counts"`. */
  subject?: { toString(): string } | undefined;
  /** The handle that a new descriptor is bound to. Default: a new one. */
  handle?: Handle | undefined;
}

const bpfNames: OptionNames<BpfOptions> = { subject: true, handle: true, ...callNames };

/** The same call, and how long its answer is waited for. */
export function patient(about: BpfOptions, patience: Patience | undefined): BpfOptions {
  if (patience === undefined) return about;
  const { timeoutMs, signal } = patience;
  return { ...about, timeoutMs, signal };
}

/** The result of a bpf(2) call, whether the guest's kernel made or refused it. */
export interface Outcome<C extends Command> {
  /** The call's result, −1 when the kernel refused it, or the handle of the new descriptor. */
  readonly result: number;
  /** 0, or the kernel's positive errno. */
  readonly errno: number;
  /** The handle of the new descriptor, if there is one. */
  readonly handle: Handle;
  /** The kernel's output. Much of it is valid even if the kernel refused the call. */
  values(): Results<C>;
  /** The error of a call that was refused; `subject` is what it was about. */
  error(subject?: { toString(): string }): SystemError;
}

/** The bpf(2) calls of a session, and what it remembers of its objects. */
export class BpfCalls {
  /** The sizes of the maps that are known. */
  readonly knownMaps: KnownMaps;
  /** Closes what is not referred to any more. */
  readonly collected: Collector;
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
    this.knownMaps = new KnownMaps(caller.kernel.possibleCpus);
    this.collected = new Collector(caller);
  }

  /** See {@link GuestKernel.bpf}. */
  async bpf<C extends Command>(
    shape: C,
    values: Arguments<C>,
    options?: BpfOptions,
  ): Promise<Results<C> & { handle: Handle; result: number }> {
    if (options !== undefined) refuseUnknownOptions('bpf()', options, bpfNames);
    const handle = this.#resultHandle(shape, options);
    const encoded = encode(shape, values, this.knownMaps, handle);
    const answer = this.#caller.start(encoded.call, options, shape.name);
    const reply = answer instanceof Promise ? await answer : answer;
    if (reply.result < 0) throw refused(encoded, reply, options?.subject);
    if (handle !== 0) this.collected.needs(handle, handlesIn(encoded.call.relocations));
    // Not a spread: copying an object whose keys the engine does not know costs microseconds.
    const results = encoded.decode(reply) as Results<C> & { handle: Handle; result: number };
    results.handle = handle;
    results.result = reply.result;
    return results;
  }

  /** See {@link GuestKernel.tryBpf}. */
  async tryBpf<C extends Command>(
    shape: C,
    values: Arguments<C>,
    options?: BpfOptions,
  ): Promise<Outcome<C>> {
    if (options !== undefined) refuseUnknownOptions('tryBpf()', options, bpfNames);
    const handle = this.#resultHandle(shape, options);
    const encoded = encode(shape, values, this.knownMaps, handle);
    const reply = await this.#caller.start(encoded.call, options, shape.name);
    if (handle !== 0 && reply.result >= 0)
      this.collected.needs(handle, handlesIn(encoded.call.relocations));
    return outcomeOf(encoded, reply, options?.subject, handle);
  }

  #resultHandle(shape: Command, options: BpfOptions | undefined): Handle {
    return shape.returns === 'fd' ? (options?.handle ?? this.#caller.newHandle()) : 0;
  }
}

/** Returns what a reply says about a call; `subject` is what the call was about. */
export function outcomeOf<C extends Command>(
  encoded: Encoded<C>,
  reply: Reply,
  subject: BpfOptions['subject'],
  handle: Handle = 0,
): Outcome<C> {
  return {
    result: reply.result,
    errno: reply.errno,
    handle,
    values: () => encoded.decode(reply),
    error: (other) => refused(encoded, reply, other ?? subject),
  };
}

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
