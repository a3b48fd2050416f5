import type { GuestEnvironment } from '../environment.js';
import type { GuestChoice } from '../guest-lab.js';
import type { Amount, Batch } from '../types.js';

/** Which experiment a side is for, and in which guest. */
export interface SideChoice {
  experiment: string;
  choice: Omit<GuestChoice, 'notice'>;
}

/**
 * What a side is asked: to `fetch` and build what its guest needs while there is a network, to
 * `open` what the experiment runs on, to `measure` an arm of it, and to `close` it.
 */
export type SideRequest =
  | ({ task: 'fetch' | 'open' } & SideChoice)
  | { task: 'measure'; arm: string; amount: Amount }
  | { task: 'close' };

/** What an experiment has in a revision, once it is open. */
export interface Opened {
  arms: readonly string[];
  absent: ReadonlyArray<{ arm: string; why: string }>;
  guest?: GuestEnvironment;
}

/** Samples of an arm, as {@link Arm.measure} returns them. */
export type Measured = ReadonlyArray<Pick<Batch, 'metric' | 'unit' | 'values'>>;

/** What a side answers: what was asked for. */
export interface SideAnswer {
  opened?: Opened;
  measured?: Measured;
}
