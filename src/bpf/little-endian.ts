/* Little-endian words of byte arrays. As in bpf(2), bytes beyond the end read as zero. */
import type { Struct } from './rows.js';

export function readU16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8);
}

export function readU32(bytes: Uint8Array, offset: number): number {
  const b3 = bytes[offset + 3];
  if (b3 !== undefined) {
    const b0 = bytes[offset] ?? 0;
    return (
      (b0 | ((bytes[offset + 1] ?? 0) << 8) | ((bytes[offset + 2] ?? 0) << 16) | (b3 << 24)) >>> 0
    );
  }
  return (readU16(bytes, offset) | (readU16(bytes, offset + 2) << 16)) >>> 0;
}

export function readU64(bytes: Uint8Array, offset: number): bigint {
  return BigInt(readU32(bytes, offset)) | (BigInt(readU32(bytes, offset + 4)) << 32n);
}

export function writeU32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value;
  bytes[offset + 1] = value >>> 8;
  bytes[offset + 2] = value >>> 16;
  bytes[offset + 3] = value >>> 24;
}

export function writeU64(bytes: Uint8Array, offset: number, value: bigint): void {
  writeU32(bytes, offset, Number(value & 0xffffffffn));
  writeU32(bytes, offset + 4, Number((value >> 32n) & 0xffffffffn));
}

/** Returns the offset of a field that a row names. Throws if the row has no such field. */
export function fieldOffset(row: Struct, name: string): number {
  const field = row.fields[name];
  if (field === undefined) throw new TypeError(`${row.name} has no field ${name}`);
  return field.offset;
}
