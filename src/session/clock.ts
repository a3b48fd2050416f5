/** A reading of the guest's clock: taken there at some time between two readings of the host's. */
export interface ClockSample {
  /** CLOCK_MONOTONIC of the guest, in nanoseconds: what bpf_ktime_get_ns() returns. */
  guestNs: number;
  /** `performance.now()` before it was asked for; −∞ when that is not known. */
  afterMs: number;
  /** `performance.now()` once it was here. */
  beforeMs: number;
}

/** Where a moment of the guest's lies on the host's timeline. */
export interface Placed {
  /** `performance.now()` of the host at that moment, give or take {@link errorMs}. */
  hostMs: number;
  /** The moment is no further away than this. */
  errorMs: number;
}

/** By how much the rates of two clocks may differ: twice what NTP allows itself. */
const MAX_DRIFT = 1e-3;
const MAX_SAMPLES = 256;

/**
 * The guest's clock on the host's timeline.
 *
 * The host's clock may run while the guest's stands still, as when the guest is paused, but never
 * the other way. So a moment comes at least as long after an earlier reading as the guest's clock
 * says, and at least as long before a later one: the bounds hold whatever happens to the guest.
 */
export class GuestClock {
  readonly #samples: ClockSample[] = [];

  /** The best bound that a single round trip has given, in milliseconds: half of the shortest. */
  get bestErrorMs(): number {
    return Math.min(...this.#samples.map((s) => (s.beforeMs - s.afterMs) / 2));
  }

  /** The reading that was made in the least time, if there is one: the clock was just so then. */
  get best(): ClockSample | undefined {
    return this.#samples.reduce<ClockSample | undefined>(
      (best, sample) => (best !== undefined && width(best) <= width(sample) ? best : sample),
      undefined,
    );
  }

  /** Takes a reading into account. */
  add(sample: ClockSample): void {
    this.#samples.push(sample);
    this.#samples.sort((a, b) => a.guestNs - b.guestNs);
    if (this.#samples.length <= MAX_SAMPLES) return;
    // The ends matter for what is outside of them; in between the least precise one goes.
    let worst = 1;
    for (let i = 1; i < this.#samples.length - 1; i++) {
      if (width(this.#samples[i]) > width(this.#samples[worst])) worst = i;
    }
    this.#samples.splice(worst, 1);
  }

  /**
   * Places a stamp such as bpf_ktime_get_ns() makes.
   *
   * @param arrivedMs when it was here at the latest: `receivedMs` of its batch. It bounds moments
   *   that are later than every reading
   * @returns `errorMs` is ∞ when nothing bounds the moment from one side
   */
  place(guestNs: number | bigint, arrivedMs = Number.POSITIVE_INFINITY): Placed {
    const stamp = Number(guestNs);
    let earliest = Number.NEGATIVE_INFINITY;
    let latest = arrivedMs;
    for (const { guestNs: at, afterMs, beforeMs } of this.#samples) {
      const ms = (stamp - at) / 1e6;
      const slack = Math.abs(ms) * MAX_DRIFT;
      if (ms >= 0) earliest = Math.max(earliest, afterMs + ms - slack);
      if (ms <= 0) latest = Math.min(latest, beforeMs + ms + slack);
    }
    if (earliest > latest) earliest = latest;
    if (!Number.isFinite(earliest)) return { hostMs: latest, errorMs: Number.POSITIVE_INFINITY };
    if (!Number.isFinite(latest)) return { hostMs: earliest, errorMs: Number.POSITIVE_INFINITY };
    return { hostMs: (earliest + latest) / 2, errorMs: (latest - earliest) / 2 };
  }
}

function width(sample: ClockSample | undefined): number {
  return sample === undefined ? 0 : sample.beforeMs - sample.afterMs;
}
