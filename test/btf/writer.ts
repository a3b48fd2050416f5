/** A type for {@link writeBtf}: what `struct btf_type` has, and the words that follow it. */
export interface RawType {
  kind: number;
  name?: string;
  vlen?: number;
  flag?: boolean;
  /** The size, or the type that it refers to. */
  size?: number;
  /** Numbers, and names that become offsets of strings. */
  words?: readonly (number | string)[];
}

/** BTF of these types; the first has the id 1. */
export function writeBtf(types: readonly RawType[]): Uint8Array {
  const strings: string[] = [''];
  let stringBytes = 1;
  const offsets = new Map<string, number>([['', 0]]);
  const offsetOf = (name: string) => {
    const known = offsets.get(name);
    if (known !== undefined) return known;
    offsets.set(name, stringBytes);
    strings.push(name);
    stringBytes += name.length + 1;
    return stringBytes - name.length - 1;
  };
  const words = types.flatMap(({ kind, name = '', vlen = 0, flag = false, size = 0, words }) => [
    offsetOf(name),
    ((flag ? 0x80000000 : 0) | (kind << 24) | vlen) >>> 0,
    size,
    ...(words ?? []).map((word) => (typeof word === 'string' ? offsetOf(word) : word >>> 0)),
  ]);
  const body = Buffer.from(Uint32Array.from(words).buffer);
  const text = Buffer.from(`${strings.join('\0')}\0`);
  const header = Buffer.alloc(24);
  header.writeUInt16LE(0xeb9f);
  header.writeUInt8(1, 2);
  header.writeUInt32LE(24, 4);
  header.writeUInt32LE(0, 8);
  header.writeUInt32LE(body.length, 12);
  header.writeUInt32LE(body.length, 16);
  header.writeUInt32LE(text.length, 20);
  return Buffer.concat([header, body, text]);
}

export const Kind = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  TYPEDEF: 8,
  CONST: 10,
  FUNC: 12,
  FUNC_PROTO: 13,
  VAR: 14,
  FLOAT: 16,
  ENUM64: 19,
} as const;

/** An integer type; `encoding` is 1 for a signed one, 4 for a boolean. */
export const int = (name: string, sizeBytes: number, encoding = 0): RawType => ({
  kind: Kind.INT,
  name,
  size: sizeBytes,
  words: [(encoding << 24) | (8 * sizeBytes)],
});
