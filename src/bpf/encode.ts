import type { Call, Handle, Reply } from '../call.js';
import { type SystemError, systemError } from '../errors.js';
import { compiledOf } from './compile.js';
import { decodeFrame, Encoding, encodeArguments, type Frame, type Frames } from './encoding.js';
import { CallFlag } from './enums.js';
import { FieldsSource, type Values } from './fields.js';
import { COMMON_ATTR } from './infos.js';
import { type Memory, MemorySource, type Write, writesOf } from './memory.js';
import type { Command } from './rows.js';
import type { MapSpecs, ObjectSpecs } from './specs.js';
import { shapeOf } from './table.js';
import type { Arguments, Inputs, Outputs, Results } from './types.js';

const commonStruct = compiledOf(COMMON_ATTR);
const noCommon = { address: 0n, image: new Uint8Array(0) };

/** The common attributes that every command accepts beside its own: room for a log. */
export type CommonArguments = Inputs<(typeof COMMON_ATTR)['fields']>;
/** What a call returns in the second argument of bpf(2), which all commands share. */
export type CommonResults = Outputs<(typeof COMMON_ATTR)['fields']>;

/** A call of any command, ready to be sent. */
export interface EncodedCall {
  /** The row of the command's shape. */
  readonly shape: Command;
  /** The call to send. */
  readonly call: Call;
  /** Returns the values of the fields that the kernel has written. */
  decode(reply: Reply): object;
  /** Returns the error of a call that the kernel has refused. */
  error(reply: Reply): SystemError;
  /** Returns what the kernel has written to the memory of the caller. */
  writes(reply: Reply): Write[];
}

/** A call that is ready to be sent and can decode its reply. */
export class Encoded<C extends Command = Command> implements EncodedCall {
  /** The row of the command's shape. */
  readonly shape: C;
  /** The call to send. It refers to the caller's bytes and does not copy them. */
  readonly call: Call;
  private readonly frame: Frame;
  private readonly commonFrame: Frame | undefined;

  constructor(shape: C, call: Call, [frame, commonFrame]: Frames) {
    this.shape = shape;
    this.call = call;
    this.frame = frame;
    this.commonFrame = commonFrame;
  }

  /**
   * Returns everything that the kernel wrote, by the kernel's field names: numbers (64-bit ones as
   * bigint), text, and bytes cut to the counts that the kernel returned. The bytes alias the reply.
   *
   * Much of the output is valid even when the call failed: logs, counts, partial batches.
   */
  decode(reply: Reply): Results<C> {
    return decodeFrame(this.frame, reply) as Results<C>;
  }

  /**
   * Returns the place among the outputs of the reply that has what the kernel writes behind a pointer
   * of the attribute. Another call of a chain can take it from there.
   *
   * @param field the kernel's name of the pointer, which is not NULL
   */
  outputOf(field: keyof Results<C> & string): number {
    const step = this.frame.struct.pointers.find(({ name }) => name === field);
    const slot = step === undefined ? 0 : (this.frame.slots[2 * step.index] ?? 0);
    if (slot === 0) throw new TypeError(`${this.shape.name} has no output behind ${field}`);
    return slot - 1;
  }

  /**
   * Returns the kernel's output in the common attributes. Returns undefined if the call has none.
   */
  decodeCommon(reply: Reply): CommonResults | undefined {
    if (this.commonFrame === undefined) return undefined;
    return decodeFrame(this.commonFrame, reply) as CommonResults;
  }

  /**
   * Returns the error of a reply whose result is −1, with the kernel's log if there is one.
   *
   * @param about the object of the call, and the meaning of the errno for it
   */
  error(reply: Reply, about: { object?: string; why?: string } = {}): SystemError {
    const values = decodeFrame(this.frame, reply);
    const log = values.log_buf ?? values.btf_log_buf ?? this.decodeCommon(reply)?.log_buf;
    const logTrueSize = values.log_true_size ?? values.btf_log_true_size;
    const logged = typeof log === 'string' && log !== '';
    return systemError('bpf', reply.errno, {
      command: this.shape.name,
      side: 'guest',
      ...about,
      ...(logged ? { log } : {}),
      ...(typeof logTrueSize === 'number' && logTrueSize > 0 ? { logTrueSize } : {}),
    });
  }

  /**
   * Returns the bytes to write to the memory that the call was read from. Empty for {@link encode}.
   */
  writes(reply: Reply): Write[] {
    const writes = writesOf(this.frame, reply);
    if (this.commonFrame !== undefined) writes.push(...writesOf(this.commonFrame, reply));
    return writes;
  }
}

/**
 * Encodes a call from named values.
 *
 * Counts that belong to bytes (`insn_cnt`, `btf_size`, `cnt` …) may be left out. A descriptor is an
 * object with a `handle`. Instructions and map values contain handle numbers in place of
 * descriptors. The room for the kernel's output follows from the given counts (`log_size`,
 * `nr_map_ids` …) and from the map's sizes.
 *
 * @param shape a row of the table, such as `MAP_LOOKUP_ELEM`
 * @param values the fields by their kernel names; an absent field is 0
 * @param specs the known facts about maps in the guest
 * @param result the handle to bind a new descriptor to, when `shape.returns` is `'fd'`
 * @param common the common attributes, which kernels before 7.2 answer with EINVAL
 * @throws ERR_BPF_FIELD for a value that does not fit; ERR_BPF_UNSUPPORTED for a call that cannot
 *   be carried to another kernel
 */
export function encode<C extends Command>(
  shape: C,
  values: Arguments<C>,
  specs: MapSpecs,
  result: Handle = 0,
  common?: CommonArguments,
): Encoded<C> {
  const struct = compiledOf(shape);
  const source = new FieldsSource(struct, values as Values, specs, shape.name);
  const encoding = new Encoding(shape, source, specs.possibleCpus, result);
  if (common === undefined) {
    return new Encoded(shape, encoding.call, encodeArguments(encoding, { struct, source }));
  }
  const second = new FieldsSource(commonStruct, common, specs, `${shape.name} common attributes`);
  const frames = encodeArguments(
    encoding,
    { struct, source },
    { struct: commonStruct, source: second },
  );
  return new Encoded(shape, withCommon(encoding.call), frames);
}

function withCommon(call: Call): Call {
  call.command |= CallFlag.BPF_COMMON_ATTRS;
  call.args = 2;
  return call;
}

/** A call as another process made it. */
export interface RawCall {
  /** The first argument of bpf(2). */
  readonly command: number;
  /** The second argument of bpf(2): the address of the attribute. */
  readonly address: bigint;
  /** The bytes of the attribute. Their number is the third argument. */
  readonly image: Uint8Array;
  /**
   * The fourth argument of bpf(2) and the bytes there. Their number is the fifth argument. Used if
   * the command has `BPF_COMMON_ATTRS`.
   *
   * The caller must handle a process without memory at this address. A kernel with common
   * attributes returns EFAULT, and any other kernel returns EINVAL. Programs pass NULL to detect
   * common attributes.
   */
  readonly common?: { readonly address: bigint; readonly image: Uint8Array } | undefined;
}

/**
 * Encodes a call that another process made, from its memory. The size and the trailing bytes stay
 * as they are. A descriptor that the guest does not have becomes a descriptor that is certainly
 * closed.
 *
 * Memory that the process does not have is left out. The guest's kernel then faults exactly where
 * this kernel would, after the same checks.
 *
 * @param result the handle to bind a new descriptor to, if the command returns one
 * @throws ERR_BPF_UNKNOWN_COMMAND for a command or a shape that the table does not have
 */
export function encodeRaw(
  raw: RawCall,
  memory: Memory,
  specs: ObjectSpecs,
  result: Handle = 0,
): Encoded {
  const handleOf = (descriptor: number) => memory.handleOf(descriptor | 0);
  const hasCommon = (raw.command & CallFlag.BPF_COMMON_ATTRS) !== 0;
  const number = raw.command & ~CallFlag.BPF_COMMON_ATTRS;
  const shape = shapeOf(number, raw.image, handleOf, specs, memory.pid);
  const struct = compiledOf(shape);
  const source = MemorySource.argument(struct, raw.address, raw.image, memory, specs);
  const bound = shape.returns === 'fd' ? result : 0;
  const encoding = new Encoding(shape, source, specs.possibleCpus, bound);
  if (!hasCommon) {
    return new Encoded(shape, encoding.call, encodeArguments(encoding, { struct, source }));
  }
  const { address, image } = raw.common ?? noCommon;
  const second = MemorySource.argument(commonStruct, address, image, memory, specs);
  const frames = encodeArguments(
    encoding,
    { struct, source },
    { struct: commonStruct, source: second },
  );
  return new Encoded(shape, withCommon(encoding.call), frames);
}
