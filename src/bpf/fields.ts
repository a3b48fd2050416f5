/* The source of a call that is made in this process: an object with the kernel's field names. */
import type { CallBuffer, Handle } from '../call.js';
import {
  accepted,
  bad,
  type CompiledStruct,
  type FdStep,
  handleOf,
  type PointerStep,
  roundUp8,
} from './compile.js';
import type { Encoding, Source } from './encoding.js';
import { readU32, writeU32 } from './little-endian.js';
import type { FdKind } from './rows.js';
import { knownMap, type MapSpec, type MapSpecs } from './specs.js';

export type Values = { readonly [name: string]: unknown };

const empty: Values = {};

/**
 * Lays out a structure from named values. Descriptor fields hold handles. Pointers stay zero, and
 * their targets are kept separately.
 */
export class FieldsSource implements Source {
  readonly image: Uint8Array;
  private readonly operands: unknown[];
  private readonly command: string;
  private readonly specs: MapSpecs;

  /** @param sizeBytes the structure's size; 0 means as long as the used fields need */
  constructor(
    struct: CompiledStruct,
    values: Values,
    specs: MapSpecs,
    command: string,
    sizeBytes = 0,
  ) {
    this.command = command;
    this.specs = specs;
    this.operands = new Array(struct.pointers.length);
    const image = new Uint8Array(sizeBytes === 0 ? sizeFor(struct, values) : sizeBytes);
    this.image = image;
    const map = struct.setters;
    for (const name in values) {
      const value = values[name];
      if (value === undefined) continue;
      const set = map.get(name);
      if (set === undefined) throw unknownField(struct, name, value, command);
      set(image, this.operands, value, command);
    }
  }

  refers(step: PointerStep, length: number): boolean {
    const operand = this.operands[step.index];
    const { field } = step;
    if (field.flow === 'out') {
      return (!field.nullable || operand === true) && length > 0;
    }
    if (operand === undefined && !field.nullable && field.type !== 'struct') {
      throw bad(this.command, step.name, undefined, accepted[field.type][1]);
    }
    // A structure that the kernel fills in is always present. Any other target must be given.
    if (operand === undefined) return field.type === 'struct' && field.flow === 'inout';
    return operand !== null;
  }

  bytes(step: PointerStep, encoding: Encoding): Uint8Array {
    const operand = this.operands[step.index];
    const { field } = step;
    if (field.type === 'string') return this.text(step.name, operand, field.length);
    if (field.type === 'fds') return this.handles(step, operand as readonly unknown[]);
    this.reconcile(step, (operand as Uint8Array).length, encoding);
    return operand as Uint8Array;
  }

  room(_step: PointerStep, length: number): CallBuffer {
    return length;
  }

  texts(step: PointerStep, encoding: Encoding): readonly Uint8Array[] {
    const operand = this.operands[step.index] as readonly unknown[];
    const { field } = step;
    this.reconcile(step, operand.length * step.unit(this.image, encoding), encoding);
    const length = { maximumBytes: 'maximumBytes' in field ? field.maximumBytes : 0 };
    return operand.map((text, at) => this.text(`${step.name}[${at}]`, text, length));
  }

  struct(step: PointerStep, struct: CompiledStruct): Source {
    const given = readU32(this.image, step.countOffset);
    const size = given === 0 ? struct.fullBytes : given;
    writeU32(this.image, step.countOffset, size);
    const values = (this.operands[step.index] as Values | undefined) ?? empty;
    return new FieldsSource(struct, values, this.specs, `${this.command} ${step.name}`, size);
  }

  handle(descriptor: number, kinds: readonly FdKind[], where: string): Handle {
    if (descriptor === 0) {
      throw bad(this.command, where, undefined, `the handle of a ${kinds.join(' or ')}`);
    }
    return descriptor;
  }

  isOpen(): boolean {
    return false;
  }

  map(handle: Handle, field: string): MapSpec | undefined {
    return knownMap(this.specs, handle, this.command, field);
  }

  idle(step: FdStep): void {
    const expected = `absent unless ${step.flag} has the flag that switches it on`;
    throw bad(this.command, step.name, 'given', expected);
  }

  private text(name: string, value: unknown, length: object): Uint8Array {
    const maximum = 'maximumBytes' in length ? (length.maximumBytes as number) : 0;
    const bytes = typeof value === 'string' ? Buffer.from(`${value}\0`) : undefined;
    if (bytes === undefined || bytes.length > maximum || bytes.indexOf(0) < bytes.length - 1) {
      throw bad(this.command, name, value, `text of at most ${maximum - 1} bytes without NUL`);
    }
    return bytes;
  }

  private handles(step: PointerStep, refs: readonly unknown[]): Uint8Array {
    const { field } = step;
    const kinds = field.type === 'fds' ? field.kinds : [];
    const bytes = new Uint8Array(4 * refs.length);
    refs.forEach((ref, at) => {
      writeU32(bytes, 4 * at, handleOf(ref, kinds, this.command, `${step.name}[${at}]`));
    });
    const count = readU32(this.image, step.countOffset);
    if (count !== 0 && count !== refs.length) this.miscounted(step, count, refs.length);
    return bytes;
  }

  /** Derives a count from the bytes if it was left out. Compares both if it was given. */
  private reconcile(step: PointerStep, length: number, encoding: Encoding): void {
    const { image } = this;
    const unit = step.unit(image, encoding);
    if (step.countOffset < 0) {
      if (length !== unit) {
        throw bad(this.command, step.name, `${length} bytes`, `${unit} bytes`);
      }
      return;
    }
    const count = unit === 0 ? 0 : length / unit;
    if (!Number.isInteger(count) || (count === 0 && length > 0)) {
      throw bad(this.command, step.name, `${length} bytes`, `a multiple of ${unit} bytes`);
    }
    const given = readU32(image, step.countOffset);
    if (given === 0) writeU32(image, step.countOffset, count);
    else if (given !== count) this.miscounted(step, given, count);
  }

  private miscounted(step: PointerStep, given: number, count: number): never {
    const expected = `${count}, as ${step.name} has it; leave it out to have it counted`;
    throw bad(this.command, step.countName, given, expected);
  }
}

function unknownField(
  struct: CompiledStruct,
  name: string,
  value: unknown,
  command: string,
): Error {
  const known = [...struct.setters.keys()].join(', ');
  return bad(command, name, value, `no such field; there are ${known}`);
}

function sizeFor(struct: CompiledStruct, values: Values): number {
  let size = struct.baseBytes;
  if (struct.late.size === 0) return size;
  for (const name in values) {
    const end = struct.late.get(name);
    if (end !== undefined && end > size && values[name] !== undefined) size = end;
  }
  return roundUp8(size);
}
