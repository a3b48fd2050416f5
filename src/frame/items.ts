import { failure } from '../errors.js';

/** The major types of CBOR that occur in frames of a fixed shape. */
export const Major = { UINT: 0x00, NEGATIVE: 0x20, BYTES: 0x40, ARRAY: 0x80 } as const;

/** Reads the items of a body of a fixed shape, one after the other. */
export class ItemReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #what: string;
  /** The offset of the next item. */
  at: number;

  /** @param what the name of the body in errors, such as `a result` */
  constructor(bytes: Uint8Array, start: number, end: number, what: string) {
    this.#bytes = bytes;
    this.at = start;
    this.#end = end;
    this.#what = what;
  }

  /** How many bytes are left. */
  get left(): number {
    return this.#end - this.at;
  }

  /** Returns whether the next item has a major type. */
  is(major: number): boolean {
    return this.at < this.#end && ((this.#bytes[this.at] as number) & 0xe0) === major;
  }

  /**
   * Reads the head of the next item. Returns the value of a number, or the length of any other
   * item.
   *
   * @throws ERR_FRAME_MALFORMED when the item has another major type, or ends too early
   */
  head(major: number): number {
    const bytes = this.#bytes;
    const at = this.at;
    if (!this.is(major)) {
      const why = `${this.#what} has an unexpected item at byte ${at}`;
      throw failure('ERR_FRAME_MALFORMED', { why });
    }
    const info = (bytes[at] as number) & 0x1f;
    if (info < 24) {
      this.at = at + 1;
      return info;
    }
    const width = 1 << (info - 24);
    if (info > 27 || at + width >= this.#end) {
      const why = `${this.#what} has a bad length at byte ${at}`;
      throw failure('ERR_FRAME_MALFORMED', { why });
    }
    let value = 0;
    for (let i = 1; i <= width; i++) value = value * 256 + (bytes[at + i] as number);
    this.at = at + 1 + width;
    return value;
  }
}
