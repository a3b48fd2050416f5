import { bytes } from './chart/format.js';

/** The commands of the thesis' Figure 4. */
export const commandMetrics = ['PROG_LOAD', 'RAW_TRACEPOINT_OPEN'] as const;

/** What the thesis' Figure 4 reports as added by forwarding, in nanoseconds. */
export const thesisOverheadNs: Readonly<Record<(typeof commandMetrics)[number], number>> = {
  PROG_LOAD: 396_000,
  RAW_TRACEPOINT_OPEN: 100_000,
};

/**
 * A small, frequent bpf call: the look-up of a value in a hash map. Its key and value make a
 * request of about 300 bytes and an answer of about 150.
 */
export const lookupMetric = 'MAP_LOOKUP_ELEM';
export const lookupKeyBytes = 216;
export const lookupValueBytes = 128;

/** The round trip of a message of this size in each direction. */
export function echoMetric(payloadBytes: number): string {
  return `echo ${bytes(payloadBytes)}`;
}

/** The metric of a placement of the two processes on CPUs. */
export function placedMetric(metric: string, placement: 'one core' | 'a core each'): string {
  return `${metric}, ${placement}`;
}
