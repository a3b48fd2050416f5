import type { Codec } from './codec.js';

/** What a probe is asked for. Times are in milliseconds, sizes in bytes. */
export type ProbeRequest =
  | ({ task: 'commands'; address: string; settleMs: number } & Counts)
  | ({ task: 'lookup'; address: string } & Counts)
  | ({ task: 'echo'; address: string; payloadBytes: number } & Counts)
  | { task: 'codec'; codec: Codec; samples: number };

/** How many operations are measured, after how many that are not. */
export interface Counts {
  warmup: number;
  samples: number;
}

/** What a probe answers: samples by metric, or why there are none. */
export type ProbeAnswer =
  | { samples: Record<string, number[]> }
  | { error: { message: string; stack: string } };
