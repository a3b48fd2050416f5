import type { GuestEnvironment } from '../environment.js';
import type { GuestChoice } from '../guest-lab.js';
import type { Amount, Batch } from '../types.js';

/** The experiment of a side, and its guest. */
export interface SideChoice {
  experiment: string;
  choice: Omit<GuestChoice, 'notice'>;
}

/**
 * A request to a side: `fetch` and build what its guest needs while there is a network, `open` the
 * experiment, `measure` one of its arms, or `close` it.
 */
export type SideRequest =
  | ({ task: 'fetch' | 'open' } & SideChoice)
  | { task: 'measure'; arm: string; amount: Amount }
  | { task: 'close' };

/** An open experiment of a revision: its arms, and so on. */
export interface Opened {
  arms: readonly string[];
  absent: ReadonlyArray<{ arm: string; why: string }>;
  guest?: GuestEnvironment;
}

/** Samples of an arm, as {@link Arm.measure} returns them. */
type Measured = ReadonlyArray<Pick<Batch, 'metric' | 'unit' | 'values'>>;

/** The answer of a side. */
export interface SideAnswer {
  opened?: Opened;
  measured?: Measured;
}
