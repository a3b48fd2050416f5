/** Numbers that follow from a seed, and what is made of them. */
export class Random {
  #state: number;

  constructor(seed: number) {
    // Neighbouring seeds are to have nothing in common.
    this.#state = Math.imul(seed ^ (seed >>> 16), 0x45d9f3b) >>> 0;
  }

  /** A number of 32 bits (mulberry32). */
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** An integer from 0 to below `limit`. */
  below(limit: number): number {
    return this.word() % limit;
  }

  /** True once in so many times. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(from: readonly [T, ...T[]] | readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.word());
  }

  /** A number as they occur at the edges of formats. */
  edge(): number {
    return this.pick([0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, 0x7fffffff, 0xffffffff]);
  }

  text(length: number, letters: string): string {
    return Array.from({ length }, () => letters[this.below(letters.length)]).join('');
  }

  /** The same bytes with a few of them changed, inserted, repeated or missing; half the time all of them as they were. */
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
