/* Tools that learn what a kernel has by counting: the same call again and again, one word apart. */

/** How far ahead of a tool that counts it is said what to expect. */
const AHEAD = 48;
/** How much more is expected at once, unless the count ends before. */
const STRETCH = 24;

/** A 32-bit word of a call's parts. */
export interface CountedWord {
  readonly part: number;
  readonly offset: number;
}

/** What to expect: calls whose word is larger by `first` up to, and with, `last`. */
export interface Expected {
  readonly word: CountedWord;
  readonly first: number;
  readonly last: number;
}

type Parts = readonly Uint8Array[];

/** Follows a tool's calls, and finds out when it counts, and how far. */
export class Count {
  #latest: Parts = [];
  #word: CountedWord | undefined;
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

  /** Takes note of the next call, and says what to expect then that was not yet expected. */
  next(parts: Parts): Expected | undefined {
    const latest = this.#latest;
    this.#latest = parts;
    const word = counted(latest, parts);
    const value = word === undefined ? 0 : wordAt(parts, word);
    const step = word === undefined ? 0 : value - wordAt(latest, word);
    const same = word?.part === this.#word?.part && word?.offset === this.#word?.offset;
    // What it leaves out is no end of it.
    if (word !== undefined && this.#active && same && step > 0 && value <= this.#horizon) {
      return this.#expect(word, value);
    }
    if (this.#active && this.#word !== undefined) this.#end = wordAt(latest, this.#word);
    this.#active = false;
    if (this.#word !== undefined && wordAt(parts, this.#word) === this.#start && !same) {
      return this.#begin(this.#word, this.#start);
    }
    if (word === undefined || step !== 1) return undefined;
    if (!same || value - 1 !== this.#start) this.#end = Number.POSITIVE_INFINITY;
    this.#word = word;
    this.#start = value - 1;
    return this.#begin(word, value);
  }

  #begin(word: CountedWord, value: number): Expected | undefined {
    this.#active = true;
    this.#horizon = value;
    return this.#expect(word, value);
  }

  #expect(word: CountedWord, value: number): Expected | undefined {
    const before = Math.max(this.#horizon, value);
    const last = Math.min(value + AHEAD, value <= this.#end ? this.#end : Number.POSITIVE_INFINITY);
    if (last <= before || (last - before < STRETCH && last < this.#end)) return undefined;
    this.#horizon = last;
    return { word, first: before + 1 - value, last: last - value };
  }
}

/** Cuts what is expected into what is made at once: answers to the first part are there earlier. */
export function* stretches({ first, last }: Expected): Generator<readonly [number, number]> {
  for (let at = first; at <= last; at += STRETCH) yield [at, Math.min(at + STRETCH - 1, last)];
}

/** The one word that differs, if there is one and the parts are alike in all else. */
function counted(before: Parts, after: Parts): CountedWord | undefined {
  if (before.length !== after.length) return undefined;
  let found: CountedWord | undefined;
  for (const [part, is] of after.entries()) {
    const was = before[part];
    if (was?.length !== is.length) return undefined;
    if (Buffer.compare(was, is) === 0) continue;
    for (let offset = 0; offset < is.length; offset += 4) {
      if (wordOf(is, offset) === wordOf(was, offset)) continue;
      if (found !== undefined || offset + 4 > is.length) return undefined;
      found = { part, offset };
    }
  }
  return found;
}

function wordAt(parts: Parts, { part, offset }: CountedWord): number {
  return wordOf(parts[part] ?? new Uint8Array(0), offset);
}

function wordOf(bytes: Uint8Array, offset: number): number {
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
