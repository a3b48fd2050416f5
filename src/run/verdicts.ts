/*
 * The file of verdicts: a magic word, then for each verdict the length of its key, the errno, the
 * number of outputs and the length of each, 32 bits each, and the bytes of all. Each program that
 * probes reads it anew, so that its format is one that takes no time.
 */

/** What came of a load: the errno, 0 if it succeeded, and the outputs. */
export type Verdict = readonly [errno: number, outputs: readonly Uint8Array[]];

const MAGIC = 'waep1\n\0\0';
const MAX_OUTPUTS = 16;
const HEAD_BYTES = 12;

/** @param verdicts by keys whose characters are bytes */
export function encodeVerdicts(verdicts: Iterable<readonly [string, Verdict]>): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from(MAGIC, 'latin1')];
  for (const [key, [errno, outputs]] of verdicts) {
    const lengths = outputs.map(({ length }) => length);
    const head = Uint32Array.of(key.length, errno, outputs.length, ...lengths);
    parts.push(Buffer.from(head.buffer), Buffer.from(key, 'latin1'), ...outputs);
  }
  return Buffer.concat(parts);
}

/** The verdicts in a file, up to where it is damaged. */
export class VerdictFile {
  readonly #bytes: Buffer;
  /** Where each verdict begins. */
  readonly #places = new Map<string, number>();

  constructor(file: Uint8Array) {
    const bytes = Buffer.from(file.buffer, file.byteOffset, file.length);
    this.#bytes = bytes;
    if (bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) return;
    let at = MAGIC.length;
    while (at + HEAD_BYTES <= bytes.length) {
      const count = bytes.readUInt32LE(at + 8);
      const lengthsAt = at + HEAD_BYTES;
      const keyAt = lengthsAt + 4 * count;
      if (count > MAX_OUTPUTS || keyAt > bytes.length) return;
      const keyEnd = keyAt + bytes.readUInt32LE(at);
      let end = keyEnd;
      for (let index = 0; index < count; index++) end += bytes.readUInt32LE(lengthsAt + 4 * index);
      if (end > bytes.length) return;
      this.#places.set(bytes.toString('latin1', keyAt, keyEnd), at);
      at = end;
    }
  }

  get size(): number {
    return this.#places.size;
  }

  has(key: string): boolean {
    return this.#places.has(key);
  }

  /** The verdict of a key; the outputs are parts of the file. */
  get(key: string): Verdict | undefined {
    const at = this.#places.get(key);
    if (at === undefined) return undefined;
    const bytes = this.#bytes;
    const outputs: Uint8Array[] = [];
    let lengthAt = at + HEAD_BYTES;
    let start = lengthAt + 4 * bytes.readUInt32LE(at + 8) + key.length;
    for (let left = bytes.readUInt32LE(at + 8); left > 0; left--) {
      const end = start + bytes.readUInt32LE(lengthAt);
      outputs.push(bytes.subarray(start, end));
      start = end;
      lengthAt += 4;
    }
    return [bytes.readUInt32LE(at + 4), outputs];
  }

  *[Symbol.iterator](): Generator<[string, Verdict]> {
    for (const key of this.#places.keys()) yield [key, this.get(key) as Verdict];
  }
}
