/** Numbers that follow from a seed, and random values made of them. */
export class Random {
  #state: number;

  constructor(seed: number) {
    // Neighbouring seeds must lead to unrelated numbers.
    this.#state = Math.imul(seed ^ (seed >>> 16), 0x45d9f3b) >>> 0;
  }

  /** Returns a number of 32 bits (mulberry32). */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** Returns an integer from 0 to `limit` − 1. */
  below(limit: number): number {
    return this.word() % limit;
  }

  /** Returns true once in `times` times on average. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(from: readonly [T, ...T[]] | readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.word());
  }

  /** Returns a number at the edge of a format. */
  edge(): number {
    return this.pick([0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, 0x7fffffff, 0xffffffff]);
  }

  text(length: number, letters: string): string {
    return Array.from({ length }, () => letters[this.below(letters.length)]).join('');
  }

  /**
   * Returns the same bytes, half of the time with a few of them changed, inserted, repeated or
   * missing.
   */
  spoilt(bytes: Uint8Array): Uint8Array {
    let spoilt = Buffer.from(bytes);
    if (this.once(2)) return spoilt;
    for (let left = 1 + this.below(4); left > 0; left--) {
      const at = this.below(spoilt.length + 1);
      const before = spoilt.subarray(0, at);
      const after = spoilt.subarray(at);
      switch (this.below(6)) {
        case 0:
          spoilt = Buffer.concat([before, this.bytes(1 + this.below(4)), after]);
          break;
        case 1:
          spoilt = Buffer.concat([before, after.subarray(1 + this.below(8))]);
          break;
        case 2:
          spoilt = Buffer.from(before);
          break;
        case 3:
          spoilt = Buffer.concat([before, after.subarray(0, this.below(16)), after]);
          break;
        case 4:
          if (spoilt.length >= at + 4) spoilt.writeUInt32LE(this.edge(), at);
          break;
        default:
          if (at < spoilt.length) spoilt[at] = (spoilt[at] ?? 0) ^ (1 << this.below(8));
      }
    }
    return spoilt;
  }
}
