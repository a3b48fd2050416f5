import { type Codec, misfit } from './codec.js';

type Getter = 'getUint8' | 'getUint16' | 'getUint32' | 'getInt8' | 'getInt16' | 'getInt32';
type Setter = 'setUint8' | 'setUint16' | 'setUint32' | 'setInt8' | 'setInt16' | 'setInt32';

function integer(
  name: string,
  sizeBytes: 1 | 2 | 4,
  signed: boolean,
  littleEndian = true,
): Codec<number> {
  const bits = 8 * sizeBytes;
  const least = signed ? -(2 ** (bits - 1)) : 0;
  const most = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const type = `${signed ? 'Int' : 'Uint'}${bits}`;
  const getter = `get${type}` as Getter;
  const setter = `set${type}` as Setter;
  return {
    name,
    sizeBytes,
    alignBytes: sizeBytes,
    read: (view, offset) => view[getter](offset, littleEndian),
    write(view, offset, value) {
      if (!Number.isInteger(value) || value < least || value > most) {
        throw misfit(value, `an integer from ${least} to ${most}`);
      }
      view[setter](offset, value, littleEndian);
    },
  };
}

/** An unsigned number of 8 bits. */
export const u8 = integer('u8', 1, false);
/** An unsigned number of 16 bits. */
export const u16 = integer('u16', 2, false);
/** An unsigned number of 32 bits. */
export const u32 = integer('u32', 4, false);
/** A signed number of 8 bits. */
export const s8 = integer('s8', 1, true);
/** A signed number of 16 bits. */
export const s16 = integer('s16', 2, true);
/** A signed number of 32 bits. */
export const s32 = integer('s32', 4, true);
/** An unsigned number of 16 bits in network order, such as a port. */
export const u16be = integer('u16be', 2, false, false);
/** An unsigned number of 32 bits in network order, such as an IPv4 address. */
export const u32be = integer('u32be', 4, false, false);

function long(name: string, signed: boolean): Codec<bigint, bigint | number> {
  const fit = signed ? BigInt.asIntN : BigInt.asUintN;
  const expected = signed
    ? 'a bigint or a safe integer from -2^63 to 2^63 - 1'
    : 'a bigint or a safe integer from 0 to 2^64 - 1';
  return {
    name,
    sizeBytes: 8,
    alignBytes: 8,
    read: signed
      ? (view, offset) => view.getBigInt64(offset, true)
      : (view, offset) => view.getBigUint64(offset, true),
    write(view, offset, value) {
      if (typeof value === 'number' && !Number.isSafeInteger(value)) throw misfit(value, expected);
      if (typeof value !== 'number' && typeof value !== 'bigint') throw misfit(value, expected);
      const number = BigInt(value);
      if (fit(64, number) !== number) throw misfit(value, expected);
      view.setBigUint64(offset, BigInt.asUintN(64, number), true);
    },
  };
}

/** An unsigned number of 64 bits: read as a bigint, written from a bigint or a safe integer. */
export const u64 = long('u64', false);
/** A signed number of 64 bits: read as a bigint, written from a bigint or a safe integer. */
export const s64 = long('s64', true);

function floating(bits: 32 | 64): Codec<number> {
  const sizeBytes = bits / 8;
  return {
    name: `f${bits}`,
    sizeBytes,
    alignBytes: sizeBytes,
    read: (view, offset) => view[`getFloat${bits}`](offset, true),
    write(view, offset, value) {
      if (typeof value !== 'number') throw misfit(value, 'a number');
      view[`setFloat${bits}`](offset, value, true);
    },
  };
}

/** A floating-point number of 32 bits. */
export const f32 = floating(32);
/** A floating-point number of 64 bits. */
export const f64 = floating(64);

/** A byte that is 0 or not. */
export const bool: Codec<boolean> = {
  name: 'bool',
  sizeBytes: 1,
  alignBytes: 1,
  read: (view, offset) => view.getUint8(offset) !== 0,
  write(view, offset, value) {
    if (typeof value !== 'boolean') throw misfit(value, 'true or false');
    view.setUint8(offset, value ? 1 : 0);
  },
};

/**
 * A number of 64 bits as a JavaScript number, for counters and times below 2^53.
 *
 * A larger number is read as the nearest JavaScript number, like `Number(bigint)`.
 */
export const count: Codec<number> = {
  name: 'count',
  sizeBytes: 8,
  alignBytes: 8,
  read: (view, offset) =>
    view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 0x100000000,
  write(view, offset, value) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw misfit(value, `an integer from 0 to ${Number.MAX_SAFE_INTEGER}`);
    }
    view.setBigUint64(offset, BigInt(value), true);
  },
};

/**
 * A number with names, such as a C enumeration. It is read as its name, or as a number when it has
 * no name. It is written from either.
 */
export function named<const N extends Readonly<Record<string, number | bigint>>, T, In>(
  names: N,
  codec: Codec<T, In>,
): Codec<(keyof N & string) | T, (keyof N & string) | In> {
  const byNumber = new Map(Object.entries(names).map(([name, value]) => [String(value), name]));
  return {
    name: `named ${codec.name}`,
    sizeBytes: codec.sizeBytes,
    alignBytes: codec.alignBytes,
    read(view, offset) {
      const number = codec.read(view, offset);
      return byNumber.get(String(number)) ?? number;
    },
    write(view, offset, value) {
      if (typeof value !== 'string') {
        codec.write(view, offset, value as In);
        return;
      }
      const number = Object.hasOwn(names, value) ? names[value] : undefined;
      if (number === undefined) {
        throw misfit(value, `a number, or one of ${Object.keys(names).join(', ')}`);
      }
      codec.write(view, offset, number as In);
    },
  };
}

/**
 * Some bits of the word at the offset, like C bit fields on little-endian machines.
 *
 * @param shift how many bits come before, 0 to 7
 * @param width how many bits the number has, 1 to 64 less `shift`
 */
export function bits(
  shift: number,
  width: number,
  signed: boolean,
): Codec<number | bigint, number | bigint> {
  const sizeBytes = Math.ceil((shift + width) / 8);
  const mask = (1n << BigInt(width)) - 1n;
  const word = (view: DataView, offset: number) => {
    let value = 0n;
    for (let at = sizeBytes - 1; at >= 0; at--) {
      value = (value << 8n) | BigInt(view.getUint8(offset + at));
    }
    return value;
  };
  const fit = signed ? BigInt.asIntN : BigInt.asUintN;
  return {
    name: `${signed ? 's' : 'u'}${width}`,
    sizeBytes,
    alignBytes: 1,
    read(view, offset) {
      const value = fit(width, word(view, offset) >> BigInt(shift));
      return width <= 32 ? Number(value) : value;
    },
    write(view, offset, value) {
      const whole = typeof value === 'bigint' || Number.isSafeInteger(value);
      if (!whole || fit(width, BigInt(value)) !== BigInt(value)) {
        throw misfit(value, `an integer of ${width} ${signed ? 'signed' : 'unsigned'} bits`);
      }
      let merged = word(view, offset) | ((BigInt(value) & mask) << BigInt(shift));
      for (let at = 0; at < sizeBytes; at++, merged >>= 8n) {
        view.setUint8(offset + at, Number(merged & 0xffn));
      }
    },
  };
}
