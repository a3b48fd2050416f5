/* Tools that learn what a kernel has by counting: the same call again and again, one word apart. */

/** How far ahead of a tool that counts it is said what to expect. */
const AHEAD = 48;
/** How much more is expected at once, unless the count ends before. */
const STRETCH = 24;
/** How many calls in a row are looked further from: tools leave some out. */
const MARKS = 3;

/** What to expect: calls whose word at `offset` is larger by `first` up to, and with, `last`. */
export interface Expected {
  readonly offset: number;
  readonly first: number;
  readonly last: number;
}

/** Follows a tool's calls, given as bytes, and finds out when it counts, and how far. */
export class Readahead {
  #latest: Uint8Array = new Uint8Array(0);
  #offset = -1;
  /** Where the count began, and where one that began there has ended before. */
  #start = 0;
  #end = Number.POSITIVE_INFINITY;
  /** What has been expected. */
  #horizon = 0;
  #active = false;

  /** Whether the latest call belongs to a count. */
  get active(): boolean {
    return this.#active;
  }

  /**
   * Takes note of a call, and says what to expect then that was not yet expected. Of those within
   * what was expected some may be left out.
   */
  next(call: Uint8Array): Expected | undefined {
    const latest = this.#latest;
    if (Buffer.compare(latest, call) === 0) return undefined;
    this.#latest = call;
    const offset = differing(latest, call);
    const value = wordAt(call, offset);
    const step = value - wordAt(latest, offset);
    const same = offset >= 0 && offset === this.#offset;
    // What it leaves out is no end of it.
    if (this.#active && same && step > 0 && value <= this.#horizon + STRETCH) {
      return this.#expect(value);
    }
    if (this.#active) this.#end = wordAt(latest, this.#offset);
    this.#active = false;
    if (!same && this.#offset >= 0 && wordAt(call, this.#offset) === this.#start) {
      return this.#begin(this.#start);
    }
    if (offset < 0 || step !== 1) return undefined;
    if (!same || value - 1 !== this.#start) this.#end = Number.POSITIVE_INFINITY;
    this.#offset = offset;
    this.#start = value - 1;
    return this.#begin(value);
  }

  /** Takes note of how far the tool has got meanwhile, in the count that it is at. */
  reached(call: Uint8Array): void {
    const further = wordAt(call, this.#offset) > wordAt(this.#latest, this.#offset);
    if (this.#active && further && differing(this.#latest, call) === this.#offset) {
      this.#latest = call;
    }
  }

  #begin(value: number): Expected | undefined {
    this.#active = true;
    this.#horizon = value;
    return this.#expect(value);
  }

  #expect(value: number): Expected | undefined {
    const before = Math.max(this.#horizon, value);
    const last = Math.min(value + AHEAD, value <= this.#end ? this.#end : Number.POSITIVE_INFINITY);
    if (last <= before || (last - before < STRETCH && last < this.#end)) return undefined;
    this.#horizon = last;
    return { offset: this.#offset, first: before + 1 - value, last: last - value };
  }
}

/** Cuts what is expected into what is made at once: answers to the first part are there earlier. */
export function* stretches({ first, last }: Expected): Generator<readonly [number, number]> {
  for (let at = first; at <= last; at += STRETCH) yield [at, Math.min(at + STRETCH - 1, last)];
}

/** Whether a call is one to look further from, once `last` is what has been expected. */
export function isMark(step: number, last: number): boolean {
  return step > last - STRETCH && step <= last - STRETCH + MARKS;
}

/** The offset of the one word that differs, if there is one and the calls are alike in all else. */
export function differing(before: Uint8Array, after: Uint8Array): number {
  if (before.length !== after.length) return -1;
  let found = -1;
  for (let at = 0; at < after.length; at++) {
    if (before[at] === after[at]) continue;
    const offset = at & ~3;
    if ((found >= 0 && found !== offset) || offset + 4 > after.length) return -1;
    found = offset;
  }
  return found;
}

/** The 32-bit word at an offset; bytes that are not there are zero. */
export function wordAt(bytes: Uint8Array, offset: number): number {
  return (
    ((bytes[offset] ?? 0) |
      ((bytes[offset + 1] ?? 0) << 8) |
      ((bytes[offset + 2] ?? 0) << 16) |
      ((bytes[offset + 3] ?? 0) << 24)) >>>
    0
  );
}

/** A copy of `bytes` whose word at `offset` is larger by `step`. */
export function stepped(bytes: Uint8Array, offset: number, step: number): Uint8Array {
  const copy = Buffer.from(bytes);
  copy.writeUInt32LE((copy.readUInt32LE(offset) + step) >>> 0, offset);
  return copy;
}
