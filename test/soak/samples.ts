import type { Counts } from './loads.js';
import type { GuestReading, Reading } from './readings.js';

/** One look at everything. */
export interface Sample {
  /** Since the loads began. */
  seconds: number;
  /** The process that has the sessions and the guest's device. */
  host: Reading;
  /** `waep standby`. */
  standby: Reading;
  agent: Reading;
  guest: GuestReading;
  counts: Counts;
  /** Objects of the host that are alive, by class. */
  alive: Readonly<Record<string, number>>;
}
