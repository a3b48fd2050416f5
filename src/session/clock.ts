/**
 * A reading of the guest's clock. The guest took it at some time between two readings of the host's
 * clock.
 */
export interface ClockSample {
  /** CLOCK_MONOTONIC of the guest, in nanoseconds. bpf_ktime_get_ns() returns the same clock. */
  guestNs: number;
  /** `performance.now()` before the request for the reading; −∞ when it is unknown. */
  afterMs: number;
  /** `performance.now()` after the reading has arrived. */
  beforeMs: number;
}

/** A moment of the guest on the host's timeline. */
export interface Placed {
  /** `performance.now()` of the host at that moment, within ± {@link errorMs}. */
  hostMs: number;
  /** The largest possible error of {@link hostMs}, in milliseconds. */
  errorMs: number;
}

/** By how much the rates of two clocks may differ: twice what NTP allows itself. */
const MAX_DRIFT = 1e-3;
const MAX_SAMPLES = 256;

/**
 * The guest's clock on the host's timeline.
 *
 * The host's clock may run while the guest's stands still, for example while the guest is paused,
 * but never the other way round. So the host's clock advances at least as much as the guest's
 * between an earlier reading and a moment, and between the moment and a later reading. These bounds
 * hold whatever happens to the guest.
 */
export class GuestClock {
  readonly #samples: ClockSample[] = [];

  /**
   * The best bound that a single round trip has given, in milliseconds: half of the shortest round
   * trip.
   */
  get bestErrorMs(): number {
    return Math.min(...this.#samples.map((s) => (s.beforeMs - s.afterMs) / 2));
  }

  /** The reading with the shortest round trip, if there is a reading. */
  get best(): ClockSample | undefined {
    return this.#samples.reduce<ClockSample | undefined>(
      (best, sample) => (best !== undefined && width(best) <= width(sample) ? best : sample),
      undefined,
    );
  }

  /** Adds a reading. */
  add(sample: ClockSample): void {
    this.#samples.push(sample);
    this.#samples.sort((a, b) => a.guestNs - b.guestNs);
    if (this.#samples.length <= MAX_SAMPLES) return;
    // The first and the last reading bound the moments outside. Of the others, the least precise
    // one goes.
    let worst = 1;
    for (let i = 1; i < this.#samples.length - 1; i++) {
      if (width(this.#samples[i]) > width(this.#samples[worst])) worst = i;
    }
    this.#samples.splice(worst, 1);
  }

  /**
   * Places a time stamp of the guest, such as the result of bpf_ktime_get_ns().
   *
   * @param arrivedMs the latest time at which the stamp was here: `receivedMs` of its batch. It
   *   bounds moments that are later than every reading
   * @returns the moment; `errorMs` is ∞ when one side has no bound
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
