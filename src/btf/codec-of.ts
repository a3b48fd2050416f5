/* Codecs for types. The compiler chose the layout, and BTF describes it. */
import {
  type AnyCodec,
  array,
  bits,
  bool,
  bytes,
  f32,
  f64,
  named,
  type PlacedField,
  placedStruct,
  s8,
  s16,
  s32,
  s64,
  text,
  u8,
  u16,
  u32,
  u64,
} from '../codec/index.js';
import { failure } from '../errors.js';
import type {
  BtfArray,
  BtfComposite,
  BtfEnum,
  BtfInt,
  BtfMember,
  BtfType,
  TypeId,
} from './types.js';

/* BTF comes from outside. A type that contains itself, or would be enormous, is refused. */
const MAX_DEPTH = 32;
const MAX_PARTS = 20_000;
const MAX_BYTES = 16 * 1024 * 1024;

const unsigned: { readonly [sizeBytes: number]: AnyCodec } = { 1: u8, 2: u16, 4: u32, 8: u64 };
const signed: { readonly [sizeBytes: number]: AnyCodec } = { 1: s8, 2: s16, 4: s32, 8: s64 };

/** The parts of {@link BtfTypes} that deriving a codec needs. */
interface Types {
  type(id: TypeId): BtfType;
  resolve(id: TypeId): BtfType;
}

/** Makes the codec of a type; see {@link BtfTypes.codec}. */
export function codecOf(types: Types, id: TypeId): AnyCodec {
  return new Deriving(types).codec(id, 0);
}

function unfit(type: string, why: string): Error {
  return failure('ERR_BTF_TYPE', {
    type,
    why,
    cure: 'Describe its values with a codec of your own.',
  });
}

/**
 * Returns whether a number is smaller than its bytes. Compilers before 2018 wrote bit fields so.
 */
function isPart(type: BtfInt): boolean {
  return type.offsetBits > 0 || (type.widthBits !== 8 * type.sizeBytes && !type.boolean);
}

function bitField(offsetBits: number, widthBits: number, isSigned: boolean): AnyCodec {
  return bits(offsetBits & 7, Math.min(Math.max(widthBits, 1), 64), isSigned);
}

class Deriving {
  readonly #types: Types;
  readonly #made = new Map<TypeId, AnyCodec>();
  #parts = 0;

  constructor(types: Types) {
    this.#types = types;
  }

  codec(id: TypeId, depth: number): AnyCodec {
    const made = this.#made.get(id);
    if (made !== undefined) return made;
    const type = this.#types.resolve(id);
    if (depth > MAX_DEPTH) throw unfit(type.name || `${id}`, `more than ${MAX_DEPTH} types deep`);
    const codec = this.#derive(type.id, depth);
    this.#made.set(id, codec);
    return codec;
  }

  #derive(id: TypeId, depth: number): AnyCodec {
    const type = this.#types.type(id);
    switch (type.kind) {
      case 'int':
        return this.#number(type);
      case 'ptr':
        return u64;
      case 'float': {
        const codec = { 4: f32, 8: f64 }[type.sizeBytes];
        return codec ?? bytes(this.#bounded(type.name, type.sizeBytes));
      }
      case 'enum':
      case 'enum64':
        return this.#enumeration(type);
      case 'array':
        return this.#array(type, depth);
      case 'struct':
      case 'union': {
        const name = `${type.kind} ${type.name}`.trim();
        const fields: PlacedField[] = [];
        this.#fields(type, 0, depth, fields);
        const size = this.#bounded(name, type.sizeBytes);
        for (const { name: field, offset, codec } of fields) {
          if (offset + codec.sizeBytes > size) throw unfit(name, `${field} reaches beyond its end`);
        }
        const align = Math.max(1, ...fields.map(({ codec }) => codec.alignBytes));
        return placedStruct(name, size, align, fields, true);
      }
      default:
        throw unfit(type.name || `${id}`, `a ${type.kind} has no values`);
    }
  }

  #number(type: BtfInt): AnyCodec {
    if (isPart(type)) return bitField(type.offsetBits, type.widthBits, type.signed);
    if (type.boolean && type.sizeBytes === 1) return bool;
    const codec = (type.signed ? signed : unsigned)[type.sizeBytes];
    return codec ?? bytes(this.#bounded(type.name, type.sizeBytes));
  }

  #enumeration(type: BtfEnum): AnyCodec {
    const codec = (type.signed ? signed : unsigned)[type.sizeBytes];
    if (codec === undefined) throw unfit(`enum ${type.name}`, `it has ${type.sizeBytes} bytes`);
    const wide = type.sizeBytes === 8;
    const values = type.values.map(({ name, value }) => [name, wide ? value : Number(value)]);
    return named(Object.fromEntries(values), codec) as AnyCodec;
  }

  #array(type: BtfArray, depth: number): AnyCodec {
    const { length } = type;
    const element = this.#types.resolve(type.type);
    if (element.kind === 'int' && element.sizeBytes === 1 && !element.boolean) {
      const size = this.#bounded(`${element.name}[]`, length);
      return element.character || element.name === 'char' ? text(size) : bytes(size);
    }
    const codec = this.codec(type.type, depth + 1);
    this.#count(length);
    this.#bounded(`${codec.name}[]`, length * codec.sizeBytes);
    return array(codec, length);
  }

  /** As in C, members of anonymous structures and unions are members of the enclosing type. */
  #fields(composite: BtfComposite, base: number, depth: number, fields: PlacedField[]): void {
    if (depth > MAX_DEPTH) throw unfit(composite.name, `more than ${MAX_DEPTH} types deep`);
    for (const member of composite.members) {
      this.#count(1);
      const type = this.#types.resolve(member.type);
      const offset = base + (member.offsetBits >>> 3);
      if (member.name === '') {
        if (type.kind === 'struct' || type.kind === 'union') {
          this.#fields(type, offset, depth + 1, fields);
        }
        continue;
      }
      fields.push({ name: member.name, offset, codec: this.#member(member, depth) });
    }
  }

  #member(member: BtfMember, depth: number): AnyCodec {
    const type = this.#types.resolve(member.type);
    const isSigned = 'signed' in type && type.signed;
    if (member.widthBits > 0) return bitField(member.offsetBits, member.widthBits, isSigned);
    if (type.kind === 'int' && isPart(type)) {
      return bitField(member.offsetBits + type.offsetBits, type.widthBits, isSigned);
    }
    return this.codec(member.type, depth + 1);
  }

  #count(parts: number): void {
    this.#parts += parts;
    if (this.#parts > MAX_PARTS) throw unfit('of many parts', `it has more than ${MAX_PARTS}`);
  }

  #bounded(name: string, sizeBytes: number): number {
    if (sizeBytes > MAX_BYTES) throw unfit(name, `it has ${sizeBytes} bytes`);
    return sizeBytes;
  }
}
