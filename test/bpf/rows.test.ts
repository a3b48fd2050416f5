/*
 * Every row, from two sides: a call made from names and the same call read from a process's memory
 * must be one call, found by its shape, and its reply must mean the same to both.
 */
import t from 'tap';
import { compiledOf, fieldBytes } from '../../src/bpf/compile.js';
import {
  type Arguments,
  type Command,
  commands,
  encode,
  encodeRaw,
  type FdKind,
  type ObjectSpecs,
} from '../../src/bpf/index.js';
import type { Condition, Field, Struct } from '../../src/bpf/rows.js';
import type { Call } from '../../src/call.js';
import { Process } from './process.js';
import { mapSpec, replyTo, toHex } from './tools.js';

const ADDRESS = 0x1000;
const PID = 4711;
const COUNT = 3;
/** Descriptors of the process are their handles plus this. */
const FD_OFFSET = 200;

/** Lays out a row's arguments twice: by name, and in the memory of a process. */
class Both {
  readonly process = new Process(PID, 0x40000);
  readonly kinds = new Map<number, FdKind>();
  readonly row: Command;
  #next = 0x2000;
  #handle = 0;

  constructor(row: Command) {
    this.row = row;
  }

  get when(): Condition {
    const all: readonly Condition[] = [this.row.when ?? {}].flat();
    // No field is left out here.
    return all.find(({ zero }) => zero === undefined) ?? all[0] ?? {};
  }

  specs(): ObjectSpecs {
    const { mapType, linkType, progType, perfType, iterates } = this.when;
    const map = mapSpec(mapType === undefined ? {} : { type: mapType[1][0] ?? 0 });
    return {
      possibleCpus: 2,
      mapSpec: (handle) => (this.kinds.get(handle) === 'map' ? map : undefined),
      kindOf: (handle) => this.kinds.get(handle),
      linkTypeOf: () => linkType?.[1][0] ?? (perfType === undefined ? 0 : 7),
      progTypeOf: () => progType?.[1][0],
      perfTypeOf: () => perfType?.[1][0],
      iterTargetOf: () => iterates?.[1],
    };
  }

  /** Makes the values of a structure and its image. */
  make(struct: Struct, sizeBytes: number): { values: Record<string, unknown>; image: Uint8Array } {
    const image = new Uint8Array(sizeBytes);
    const view = new DataView(image.buffer);
    const values: Record<string, unknown> = {};
    const taken = new Set<number>();
    const fields = Object.entries(struct.fields);
    // What decides over others comes first: counts, flags, and what the shape is found by.
    for (const [name, value] of this.#deciding(struct)) {
      const field = struct.fields[name] as Field;
      values[name] = value;
      view.setUint32(field.offset, value, true);
      taken.add(field.offset);
    }
    for (const [name, field] of fields) {
      if (taken.has(field.offset) || field.flow === 'out') {
        if (!('nullable' in field) || taken.has(field.offset)) continue;
      }
      taken.add(field.offset);
      const put = (address: number) => view.setBigUint64(field.offset, BigInt(address), true);
      switch (field.type) {
        case 'fd': {
          const [kind = 'file'] =
            this.when.fdKind?.[0] === name ? this.when.fdKind[1] : field.kinds;
          values[name] = { handle: this.#object(kind === 'none' ? 'file' : kind) };
          view.setUint32(field.offset, FD_OFFSET + this.#handle, true);
          break;
        }
        case 'self':
          view.setUint32(field.offset, PID, true);
          break;
        case 'u64':
          values[name] = 0x1122334455667788n;
          view.setBigUint64(field.offset, 0x1122334455667788n, true);
          break;
        case 'u32':
        case 's32':
        case 'bit':
          values[name] = field.offset + 1;
          view.setUint32(field.offset, field.offset + 1, true);
          break;
        case 'chars':
          values[name] = name.slice(0, field.sizeBytes - 1);
          image.set(Buffer.from(name.slice(0, field.sizeBytes - 1)), field.offset);
          break;
        case 'bytes':
          break;
        case 'string':
          if (field.flow === 'in') values[name] = name;
          else if (field.nullable) values[name] = true;
          put(this.#place(Buffer.from(`${name}\0`), 0x1000));
          break;
        case 'strings': {
          const texts = Array.from({ length: COUNT }, (_, at) => `${name}${at}`);
          const places = texts.map((text) => BigInt(this.#place(Buffer.from(`${text}\0`))));
          values[name] = texts;
          put(this.#place(new Uint8Array(new BigUint64Array(places).buffer)));
          break;
        }
        case 'fds': {
          const refs = Array.from({ length: COUNT }, () => ({ handle: this.#object('map') }));
          const fds = refs.map(({ handle }) => FD_OFFSET + handle);
          values[name] = refs;
          put(this.#place(new Uint8Array(new Uint32Array(fds).buffer)));
          break;
        }
        case 'struct': {
          const made = this.make(field.struct, compiledOf(field.struct).fullBytes);
          values[name] = made.values;
          put(this.#place(made.image));
          break;
        }
        case 'buffer': {
          const bytes = new Uint8Array(this.#lengthOf(field));
          // A program's first instruction ends it.
          bytes.fill(field.holds === 'instructions' ? 0x95 : 0x21);
          if (field.flow !== 'out') values[name] = bytes;
          else if (field.nullable) values[name] = true;
          put(this.#place(bytes));
          break;
        }
      }
    }
    return { values, image };
  }

  #object(kind: FdKind): number {
    this.#handle++;
    this.kinds.set(this.#handle, kind);
    this.process.handles.set(FD_OFFSET + this.#handle, this.#handle);
    return this.#handle;
  }

  #place(bytes: Uint8Array, roomBytes = bytes.length): number {
    const address = this.#next;
    this.process.put(address, bytes);
    this.#next += Math.ceil((roomBytes + 1) / 8) * 8;
    return address;
  }

  #deciding(struct: Struct): Map<string, number> {
    const deciding = new Map<string, number>();
    const { value, zero, linkType } = this.when;
    if (struct === this.row && value !== undefined) deciding.set(value[0], value[1][0] ?? 0);
    if (struct === this.row && zero !== undefined) deciding.set(zero, 0);
    for (const field of Object.values(struct.fields)) {
      if (field.type === 'fd' && typeof field.present === 'object' && 'flag' in field.present) {
        const [name, bit] = field.present.flag;
        deciding.set(name, (deciding.get(name) ?? 0) | bit);
      }
      if (field.type === 'fd' && typeof field.present === 'object' && 'unless' in field.present) {
        const [name] = field.present.unless;
        deciding.set(name, deciding.get(name) ?? 0);
      }
      if (!('nullable' in field)) continue;
      const { length } = field;
      if (length.by === 'field' && field.type === 'struct') {
        deciding.set(length.field, compiledOf(field.struct).fullBytes);
      } else if (length.by === 'field') {
        deciding.set(length.field, COUNT);
        if (typeof length.times === 'string') deciding.set(length.times, 8);
      }
      if ('count' in length && length.count !== undefined) deciding.set(length.count, COUNT);
      if (length.by === 'mapValue' && length.flags !== undefined) deciding.set(length.flags, 0);
    }
    // A link's type is an output that no caller gives.
    if (linkType !== undefined) deciding.delete('type');
    return deciding;
  }

  #lengthOf(field: Field & { length: { by: string } }): number {
    const length = field.length as { by: string; times?: number | string; count?: string };
    if (length.by === 'field') return COUNT * (typeof length.times === 'number' ? length.times : 8);
    const unit = length.by === 'mapValue' ? 8 : 4;
    return unit * (length.count === undefined ? 1 : COUNT);
  }
}

/** A call in which it makes no difference how room for output was asked for. */
function shown({ command, args, buffers, relocations }: Call) {
  const plain = buffers.map((buffer, at) => {
    if (typeof buffer === 'number') return buffer;
    const bytes = buffer instanceof Uint8Array ? buffer : buffer.inout;
    return at > 0 && !(buffer instanceof Uint8Array) ? bytes.length : toHex(bytes);
  });
  const fours = relocations.flatMap((_, at) =>
    at % 4 === 0 ? [relocations.slice(at, at + 4).join(' ')] : [],
  );
  return { command, args, buffers: plain, relocations: fours.sort() };
}

for (const [at, row] of commands.entries()) {
  if (row.stays !== undefined) continue;
  const title = `${row.name} ${JSON.stringify(row.when ?? 'otherwise').slice(0, 80)}, row ${at}`;
  t.test(title, async (t) => {
    const both = new Both(row);
    const full = compiledOf(row).fullBytes;
    const { values, image } = both.make(row, full);
    both.process.put(ADDRESS, image);
    const named = encode(row, values as Arguments<Command>, both.specs(), 99);
    const raw = { command: row.command, address: BigInt(ADDRESS), image };
    const read = encodeRaw(raw, both.process, both.specs(), 99);
    t.equal(commands.indexOf(read.shape), at, 'the shape is found');
    t.same(shown(read.call), { ...shown(named.call) });
    const fds = Object.values(row.fields).filter(({ type }) => type === 'fd');
    const places = new Set(fds.map(({ offset }) => offset));
    const relocated = shown(named.call).relocations.filter((one) => /^0 \d+ 1 /.test(one));
    t.equal(relocated.length, places.size, 'every descriptor is a handle');

    const answer = (outputs: Uint8Array[]) => {
      for (const bytes of outputs) if (bytes.length < 256) bytes.fill(0x2a);
    };
    const result = row.returns === 'length' ? COUNT : 0;
    const meant = named.decode(replyTo(named, answer, result));
    t.same(read.decode(replyTo(read, answer, result)), meant);
    for (const { address, bytes } of read.writes(replyTo(read, answer, result)))
      both.process.put(Number(address), bytes);
    const after = both.process.read(BigInt(ADDRESS), full);
    for (const [name, field] of Object.entries(row.fields)) {
      if ('nullable' in field || field.flow === 'in') continue;
      const bytes = after.subarray(field.offset, field.offset + fieldBytes(field));
      t.equal(toHex(bytes), '2a'.repeat(bytes.length), `${name} is written back`);
    }
  });
}
