import type { Codec } from '../codec/index.js';
import { failure } from '../errors.js';
import { codecOf } from './codec-of.js';
import { type BtfKind, type BtfType, kindNames, type TypeId } from './types.js';

const MAGIC = 0xeb9f;
const HEADER_BYTES = 24;
const TYPE_BYTES = 12;
/** The maximum length of a chain of types that stand for others. */
const MAX_CHAIN = 64;

/**
 * The bytes that follow a type of each kind: a fixed part, and a part for each of its `vlen`
 * entries.
 */
const trailers: { readonly [K in BtfKind]: readonly [fixed: number, each: number] } = {
  void: [0, 0],
  int: [4, 0],
  ptr: [0, 0],
  array: [12, 0],
  struct: [0, 12],
  union: [0, 12],
  enum: [0, 8],
  fwd: [0, 0],
  typedef: [0, 0],
  volatile: [0, 0],
  const: [0, 0],
  restrict: [0, 0],
  func: [0, 0],
  func_proto: [0, 8],
  var: [4, 0],
  datasec: [0, 12],
  float: [0, 0],
  decl_tag: [4, 0],
  type_tag: [0, 0],
  enum64: [0, 12],
};

const malformed = (why: string) => failure('ERR_BTF_MALFORMED', { why });

/**
 * The types of a kernel, a module, a program or a map, read from BTF.
 *
 * The constructor checks the whole layout once and indexes the types. A type is decoded when it is
 * asked for, so the hundred thousand types of a kernel cost little.
 *
 * @example
 * ```ts
 * const types = await session.kernelTypes();
 * const codec = types.codec<{ tv_sec: bigint; tv_nsec: bigint }>('struct timespec64');
 * ```
 */
export class BtfTypes {
  readonly #view: DataView;
  readonly #base: BtfTypes | undefined;
  /** The offset of each type. The first one is that of {@link #firstId}. */
  readonly #offsets: Uint32Array;
  readonly #firstId: TypeId;
  readonly #stringsStart: number;
  readonly #stringsEnd: number;
  readonly #firstString: number;
  #named: Map<string, TypeId> | undefined;

  /**
   * @param bytes BTF of a kernel, a compiler or an object file
   * @param base the kernel's own types, if `bytes` are the types of a kernel module
   * @throws ERR_BTF_MALFORMED
   */
  constructor(bytes: Uint8Array, base?: BtfTypes) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#base = base;
    const view = this.#view;
    if (bytes.byteLength < HEADER_BYTES || view.getUint16(0, true) !== MAGIC) {
      throw malformed('it does not begin with a little-endian BTF header');
    }
    const headerBytes = view.getUint32(4, true);
    const part = (at: number, what: string): readonly [start: number, end: number] => {
      const start = headerBytes + view.getUint32(at, true);
      const end = start + view.getUint32(at + 4, true);
      if (headerBytes < HEADER_BYTES || end > bytes.byteLength) {
        throw malformed(`its ${what} reach beyond its ${bytes.byteLength} bytes`);
      }
      return [start, end];
    };
    const [typesStart, typesEnd] = part(8, 'types');
    [this.#stringsStart, this.#stringsEnd] = part(16, 'strings');
    this.#firstId = base === undefined ? 1 : base.length;
    this.#firstString = base === undefined ? 0 : base.#lastString;
    this.#offsets = this.#index(typesStart, typesEnd);
  }

  /** The last type's id plus 1. */
  get length(): number {
    return this.#firstId + this.#offsets.length;
  }

  get #lastString(): number {
    return this.#firstString + this.#stringsEnd - this.#stringsStart;
  }

  /**
   * Returns the type with this id.
   *
   * @throws ERR_BTF_TYPE when there is none
   */
  type(id: TypeId): BtfType {
    if (id === 0) return { id, kind: 'void', name: 'void' };
    if (id < this.#firstId && this.#base !== undefined) return this.#base.type(id);
    const offset = this.#offsets[id - this.#firstId];
    if (offset === undefined) {
      throw failure('ERR_BTF_TYPE', {
        type: String(id),
        why: `there are ${this.length} types only`,
        cure: 'Types of a module need the kernel’s own as their base.',
      });
    }
    return this.#decode(id, offset);
  }

  /** Yields all types, in the order of their ids. */
  *[Symbol.iterator](): Generator<BtfType> {
    for (let id = 1; id < this.length; id++) yield this.type(id);
  }

  /** Returns the id of the first type of this kind and name, or `undefined`. */
  find(kind: BtfKind, name: string): TypeId | undefined {
    this.#named ??= this.#byName();
    return this.#named.get(`${kind} ${name}`) ?? this.#base?.find(kind, name);
  }

  /**
   * Returns the id of a type by its name in C: `struct task_struct`, `enum pid_type`, `u64`.
   *
   * @throws ERR_BTF_TYPE when there is none
   */
  named(name: string): TypeId {
    const [, tag, bare = name] = /^(struct|union|enum) (.+)$/.exec(name) ?? [];
    const kinds: readonly BtfKind[] =
      tag === 'enum'
        ? ['enum', 'enum64']
        : tag !== undefined
          ? [tag as BtfKind]
          : ['typedef', 'int', 'struct', 'union', 'enum', 'enum64', 'float'];
    for (const kind of kinds) {
      const id = this.find(kind, bare);
      if (id !== undefined) return id;
    }
    throw failure('ERR_BTF_TYPE', {
      type: name,
      why: 'it is not there',
      cure: 'Write it as C does, such as "struct task_struct" or "u64".',
    });
  }

  /** Returns the type below all type names, qualifiers and tags. This type decides the layout. */
  resolve(id: TypeId): BtfType {
    let type = this.type(id);
    for (let steps = 0; steps < MAX_CHAIN; steps++) {
      switch (type.kind) {
        case 'typedef':
        case 'volatile':
        case 'const':
        case 'restrict':
        case 'type_tag':
        case 'var':
          type = this.type(type.type);
          break;
        default:
          return type;
      }
    }
    throw malformed(`type ${id} stands for itself`);
  }

  /**
   * Returns the size of a type in bytes.
   *
   * @throws ERR_BTF_TYPE for a type without a size, such as a function
   */
  sizeOf(id: TypeId): number {
    let times = 1;
    for (let steps = 0; steps < MAX_CHAIN; steps++) {
      const type = this.resolve(id);
      if (type.kind === 'ptr') return 8 * times;
      if ('sizeBytes' in type) return type.sizeBytes * times;
      if (type.kind !== 'array') {
        throw failure('ERR_BTF_TYPE', {
          type: type.name || `${id}`,
          why: `a ${type.kind} has no size`,
          cure: 'Choose the type of a value.',
        });
      }
      times *= type.length;
      id = type.type;
    }
    throw malformed(`type ${id} contains itself`);
  }

  /**
   * Returns a codec for a type. Structures become objects, with the members of anonymous structures
   * among their own. `char` arrays become text, other byte arrays become bytes, 64-bit numbers and
   * pointers become bigints, and enumerators become names. Of a union, all members are read, and
   * the given members are written.
   *
   * @param type an id, or the name of the type in C
   * @typeParam T the type that the caller expects; it is not checked
   * @throws ERR_BTF_TYPE when the type does not exist or has no layout
   */
  codec<T = unknown>(type: TypeId | string): Codec<T> {
    return codecOf(this, typeof type === 'string' ? this.named(type) : type) as Codec<T>;
  }

  #index(start: number, end: number): Uint32Array {
    const view = this.#view;
    const offsets: number[] = [];
    for (let at = start; at < end; ) {
      if (at + TYPE_BYTES > end) throw malformed(`type ${offsets.length + 1} is cut short`);
      const info = view.getUint32(at + 4, true);
      const kind = kindNames[(info >>> 24) & 0x1f];
      if (kind === undefined || kind === 'void') {
        throw malformed(
          `type ${offsets.length + 1} is of the unknown kind ${(info >>> 24) & 0x1f}`,
        );
      }
      offsets.push(at);
      const [fixed, each] = trailers[kind];
      at += TYPE_BYTES + fixed + each * (info & 0xffff);
      if (at > end) throw malformed(`type ${offsets.length} is cut short`);
    }
    return Uint32Array.from(offsets);
  }

  #byName(): Map<string, TypeId> {
    const found = new Map<string, TypeId>();
    this.#offsets.forEach((offset, index) => {
      const name = this.#string(this.#view.getUint32(offset, true));
      if (name === '') return;
      const kind = kindNames[(this.#view.getUint32(offset + 4, true) >>> 24) & 0x1f];
      const key = `${kind} ${name}`;
      if (!found.has(key)) found.set(key, this.#firstId + index);
    });
    return found;
  }

  #string(offset: number): string {
    if (offset === 0) return '';
    if (offset < this.#firstString && this.#base !== undefined) return this.#base.#string(offset);
    const start = this.#stringsStart + offset - this.#firstString;
    const { buffer, byteOffset } = this.#view;
    const rest = Buffer.from(buffer, byteOffset, this.#stringsEnd);
    const end = start < this.#stringsEnd ? rest.indexOf(0, start) : -1;
    if (end < 0) throw malformed(`the string at ${offset} has no end`);
    return rest.toString('latin1', start, end);
  }

  #decode(id: TypeId, at: number): BtfType {
    const view = this.#view;
    const word = (offset: number) => view.getUint32(offset, true);
    const name = this.#string(word(at));
    const info = word(at + 4);
    const size = word(at + 8);
    const flag = info >>> 31 === 1;
    const kind = kindNames[(info >>> 24) & 0x1f] as BtfKind;
    const [, each] = trailers[kind];
    const rest = at + TYPE_BYTES;
    const parts = <T>(part: (offset: number) => T): T[] =>
      Array.from({ length: info & 0xffff }, (_, index) => part(rest + each * index));
    switch (kind) {
      case 'int': {
        const bits = word(rest);
        const encoding = bits >>> 24;
        return {
          id,
          kind,
          name,
          sizeBytes: size,
          signed: (encoding & 1) !== 0,
          character: (encoding & 2) !== 0,
          boolean: (encoding & 4) !== 0,
          offsetBits: (bits >>> 16) & 0xff,
          widthBits: bits & 0xff,
        };
      }
      case 'array':
        return {
          id,
          kind,
          name,
          type: word(rest),
          indexType: word(rest + 4),
          length: word(rest + 8),
        };
      case 'struct':
      case 'union':
        return {
          id,
          kind,
          name,
          sizeBytes: size,
          members: parts((offset) => {
            const place = word(offset + 8);
            return {
              name: this.#string(word(offset)),
              type: word(offset + 4),
              offsetBits: flag ? place & 0xffffff : place,
              widthBits: flag ? place >>> 24 : 0,
            };
          }),
        };
      case 'enum':
      case 'enum64':
        return {
          id,
          kind,
          name,
          sizeBytes: size,
          signed: flag,
          values: parts((offset) => {
            const low = BigInt(word(offset + 4));
            const wide = kind === 'enum64' ? low | (BigInt(word(offset + 8)) << 32n) : low;
            const width = kind === 'enum64' ? 64 : 32;
            const value = flag ? BigInt.asIntN(width, wide) : wide;
            return { name: this.#string(word(offset)), value };
          }),
        };
      case 'fwd':
        return { id, kind, name, union: flag };
      case 'func_proto':
        return {
          id,
          kind,
          name,
          type: size,
          parameters: parts((offset) => ({
            name: this.#string(word(offset)),
            type: word(offset + 4),
          })),
        };
      case 'var':
        return { id, kind, name, type: size, linkage: word(rest) };
      case 'datasec':
        return {
          id,
          kind,
          name,
          sizeBytes: size,
          variables: parts((offset) => ({
            type: word(offset),
            offsetBytes: word(offset + 4),
            sizeBytes: word(offset + 8),
          })),
        };
      case 'float':
        return { id, kind, name, sizeBytes: size };
      case 'decl_tag':
        return { id, kind, name, type: size, component: view.getInt32(rest, true) };
      case 'void':
        return { id, kind, name };
      default:
        return { id, kind, name, type: size };
    }
  }
}
