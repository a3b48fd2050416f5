import { refuseUnknownOptions } from '../known-options.js';
import {
  type AnyCodec,
  type Codec,
  type Decoded,
  type Encodable,
  misfit,
  within,
} from './codec.js';

/** The fields of a structure, in their order in C. */
export type StructFields = Readonly<Record<string, AnyCodec>>;

/** The type that a structure's codec decodes. */
export type StructValue<F extends StructFields> = { [N in keyof F]: Decoded<F[N]> };

/** The type that a structure's codec encodes. */
export type StructInput<F extends StructFields> = { readonly [N in keyof F]: Encodable<F[N]> };

/** A field with its place. */
export interface PlacedField {
  /** The name of the field. */
  readonly name: string;
  /** Where the field begins, in bytes. */
  readonly offset: number;
  /** How the field is read and written. */
  readonly codec: AnyCodec;
}

/**
 * A C structure: fields in order, each at the next multiple of its alignment, the whole rounded up
 * to the largest one. Padding is written as zeroes, as the verifier wants it.
 *
 * @param options `packed` leaves the padding out, as `__attribute__((packed))` does
 */
export function struct<const F extends StructFields>(
  fields: F,
  options: { name?: string; packed?: boolean } = {},
): Codec<StructValue<F>, StructInput<F>> {
  refuseUnknownOptions('struct()', options, { name: true, packed: true });
  const placed: PlacedField[] = [];
  let end = 0;
  let alignBytes = 1;
  for (const [name, codec] of Object.entries(fields)) {
    const align = options.packed === true ? 1 : codec.alignBytes;
    const offset = Math.ceil(end / align) * align;
    placed.push({ name, offset, codec });
    end = offset + codec.sizeBytes;
    alignBytes = Math.max(alignBytes, align);
  }
  const sizeBytes = Math.ceil(end / alignBytes) * alignBytes;
  const name = options.name ?? 'struct';
  return placedStruct(name, sizeBytes, alignBytes, placed, false) as Codec<
    StructValue<F>,
    StructInput<F>
  >;
}

/**
 * A structure whose fields are at given places. They may overlap, as in a union.
 *
 * @param partial whether fields may be left out when writing; the bytes of such a field stay as
 *   they are
 */
export function placedStruct(
  name: string,
  sizeBytes: number,
  alignBytes: number,
  fields: readonly PlacedField[],
  partial: boolean,
): Codec<Record<string, unknown>, Readonly<Record<string, unknown>>> {
  return {
    name,
    sizeBytes,
    alignBytes,
    read(view, offset) {
      const value: Record<string, unknown> = {};
      for (const field of fields) {
        value[field.name] = field.codec.read(view, offset + field.offset);
      }
      return value;
    },
    write(view, offset, value) {
      if (typeof value !== 'object' || value === null) {
        throw misfit(value, `an object with ${fields.map((field) => field.name).join(', ')}`);
      }
      for (const field of fields) {
        const part = value[field.name];
        if (part === undefined && partial) continue;
        try {
          field.codec.write(view, offset + field.offset, part as never);
        } catch (error) {
          throw within(`.${field.name}`, error);
        }
      }
    },
  };
}

/** `length` values in a row. */
export function array<T, In>(codec: Codec<T, In>, length: number): Codec<T[], readonly In[]> {
  return row(`${codec.name}[${length}]`, codec, codec.sizeBytes, length);
}

/**
 * The value of a per-CPU map: an array with one value for each possible CPU of the guest, online or
 * not, indexed by the number of the CPU.
 */
export function perCpu<T, In>(codec: Codec<T, In>): Codec<T[], readonly In[]> {
  // The kernel rounds each CPU's value up to 8 bytes: bpf_map_value_size() in
  // kernel/bpf/syscall.c.
  const strideBytes = Math.ceil(codec.sizeBytes / 8) * 8;
  const name = `${codec.name} per CPU`;
  return {
    ...row(name, codec, strideBytes, 1),
    sizeBytes: codec.sizeBytes,
    forCpus: (possibleCpus) => row(name, codec, strideBytes, possibleCpus),
  };
}

function row<T, In>(
  name: string,
  codec: Codec<T, In>,
  strideBytes: number,
  length: number,
): Codec<T[], readonly In[]> {
  return {
    name,
    sizeBytes: strideBytes * length,
    alignBytes: codec.alignBytes,
    read(view, offset) {
      const values: T[] = [];
      for (let at = 0; at < length; at++) values.push(codec.read(view, offset + at * strideBytes));
      return values;
    },
    write(view, offset, values) {
      if (!Array.isArray(values) || values.length !== length) {
        throw misfit(values, `an array of ${length}`);
      }
      for (let at = 0; at < length; at++) {
        try {
          codec.write(view, offset + at * strideBytes, values[at] as In);
        } catch (error) {
          throw within(`[${at}]`, error);
        }
      }
    },
  };
}

/** Returns a codec that converts the values of another codec. */
export function mapped<T, In, U, UIn = U>(
  codec: Codec<T, In>,
  decode: (value: T) => U,
  encode: (value: UIn) => In,
): Codec<U, UIn> {
  return {
    name: codec.name,
    sizeBytes: codec.sizeBytes,
    alignBytes: codec.alignBytes,
    read: (view, offset) => decode(codec.read(view, offset)),
    write: (view, offset, value) => codec.write(view, offset, encode(value)),
  };
}
