/*
 * Tools probe a kernel by counting: they repeat one call, and one word of the call grows each time.
 */

/** How many calls ahead of a counting tool are predicted. */
const AHEAD = 48;
/** How many calls are predicted at once, unless the count ends earlier. */
const STRETCH = 24;
/** How many calls in a row trigger the next prediction. A tool may skip some of them. */
const MARKS = 3;

/** A prediction: the calls whose word at `offset` is larger by `first` to `last`, both included. */
export interface Expected {
  readonly offset: number;
  readonly first: number;
  readonly last: number;
}

/** Follows a tool's calls as bytes. Finds out when the tool counts and how far it has got. */
export class Readahead {
  #latest: Uint8Array = new Uint8Array(0);
  #offset = -1;
  /** The first call of the count, and how far an earlier count from the same call went. */
  #start = 0;
  #end = Number.POSITIVE_INFINITY;
  /** The prediction so far. */
  #horizon = 0;
  #active = false;

  /** Whether the latest call belongs to a count. */
  get active(): boolean {
    return this.#active;
  }

  /**
   * Follows a call. Returns new predictions, which were not made before. The tool may skip some of
   * the predicted calls.
   */
  next(call: Uint8Array): Expected | undefined {
    const latest = this.#latest;
    if (Buffer.compare(latest, call) === 0) return undefined;
    this.#latest = call;
    const offset = differing(latest, call);
    const value = wordAt(call, offset);
    const step = value - wordAt(latest, offset);
    const same = offset >= 0 && offset === this.#offset;
    // A tool may skip some calls. The count goes on.
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

  /** Records how far the tool has got in its count in the meantime. */
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

/** Cuts a prediction into batches, because the answers to the first batch then come earlier. */
export function* stretches({ first, last }: Expected): Generator<readonly [number, number]> {
  for (let at = first; at <= last; at += STRETCH) yield [at, Math.min(at + STRETCH - 1, last)];
}

/** Returns whether to predict further from a call. Calls up to `last` are predicted already. */
export function isMark(step: number, last: number): boolean {
  return step > last - STRETCH && step <= last - STRETCH + MARKS;
}

/** Returns the offset of the word that differs, if the calls differ in exactly one word. */
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

/** Returns the 32-bit word at an offset. Bytes beyond the end are zero. */
export function wordAt(bytes: Uint8Array, offset: number): number {
  return (
    ((bytes[offset] ?? 0) |
      ((bytes[offset + 1] ?? 0) << 8) |
      ((bytes[offset + 2] ?? 0) << 16) |
      ((bytes[offset + 3] ?? 0) << 24)) >>>
    0
  );
}

/** Returns a copy of `bytes` whose word at `offset` is larger by `step`. */
export function stepped(bytes: Uint8Array, offset: number, step: number): Uint8Array {
  const copy = Buffer.from(bytes);
  copy.writeUInt32LE((copy.readUInt32LE(offset) + step) >>> 0, offset);
  return copy;
}
