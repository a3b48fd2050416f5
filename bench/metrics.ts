import { bytes, count } from './chart/format.js';

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

/** The throughput of messages of this size in one direction. */
export function bulkMetric(
  payloadBytes: number,
  direction: 'to the guest' | 'from the guest',
): string {
  return `${bytes(payloadBytes)} ${direction}`;
}

/** The processor time that a side of a transfer uses for a mebibyte; see {@link bulkMetric}. */
export function bulkCpuMetric(side: 'host' | 'guest', bulk: string): string {
  return `CPU of the ${side} per MiB, ${bulk}`;
}

/** The processor time of a round trip; see {@link echoMetric}. */
export function echoCpuMetric(part: 'the guest' | 'QEMU’s devices', echo: string): string {
  return `CPU of ${part}, ${echo}`;
}

/** The bytes a second of messages of this size that are sent one after the other. */
export function streamMetric(payloadBytes: number): string {
  return `stream of ${bytes(payloadBytes)}`;
}

/** What messages cost beside time. */
export const countKinds = [
  'kicks',
  'interrupts',
  'switches in the guest',
  'switches of QEMU’s processor',
  'switches of QEMU’s other threads',
  'switches of the client',
] as const;

/** Messages of which something is counted. */
export interface Load {
  /** What `times` counts, in the plural. */
  readonly name: string;
  /** One of them. */
  readonly per: string;
  readonly times: number;
  readonly requestBytes: number;
  readonly replyBytes: number;
}

/** The number of a kind in all of a load. */
export function countMetric(kind: (typeof countKinds)[number], { times, name }: Load): string {
  return `${kind}, ${count(times)} ${name}`;
}

/** A metric of a guest with the kernel of this suite of the Debian archive. */
export function onKernelMetric(metric: string, suite: string): string {
  return `${metric}, kernel of ${suite}`;
}

/** The round trip of a message of this size in each direction. */
export function echoMetric(payloadBytes: number): string {
  return `echo ${bytes(payloadBytes)}`;
}

/** The metric of a placement of the two processes on CPUs. */
export function placedMetric(metric: string, placement: 'one core' | 'a core each'): string {
  return `${metric}, ${placement}`;
}

/** The element operations of a map. */
export const elementMetrics = [
  'MAP_UPDATE_ELEM',
  'MAP_LOOKUP_ELEM',
  'MAP_GET_NEXT_KEY',
  'MAP_DELETE_ELEM',
] as const;

/** The reading of a whole map, so many entries at a time. */
export function entriesMetric(entries: number, batchEntries: number): string {
  return `${count(entries)} entries, ${count(batchEntries)} at a time`;
}

/** The load of a program of this size. */
export function loadMetric(instructions: number): string {
  return `PROG_LOAD, ${count(instructions)} instructions`;
}

/** Whole runs of unmodified programs. */
export const toolMetrics = {
  show: 'bpftool prog show',
  probe: 'bpftool feature probe',
  probeAgain: 'bpftool feature probe, again',
  bpftrace: 'bpftrace BEGIN',
  hello: 'libbpf hello',
} as const;

/** The start and the end of a Node that does nothing: the least that a command in Node takes. */
export const nodeMetric = 'Node, doing nothing';

/** Single calls of unmodified programs: one that stays on the host, and one that does not. */
export const interceptionMetrics = ['uname', lookupMetric] as const;

/** What is measured of look-ups that overlap. */
export const crowdMetrics = { rate: 'rate', call: 'call' } as const;

/** The opening of a session. */
export const openMetric = 'open a session';

/** What is measured of look-ups at a level of overlap, such as `rate, depth 8`. */
export function levelMetric(metric: string, noun: string, level: number): string {
  return `${metric}, ${noun} ${level}`;
}

/** The time for each record of this size, when many are delivered. */
export function recordMetric(recordBytes: number): string {
  return `a record of ${bytes(recordBytes)}`;
}

/** Like {@link recordMetric}, where who reads or sends the records has a priority. */
export function raisedRecordMetric(recordBytes: number): string {
  return `${recordMetric(recordBytes)}, reader at nice −4`;
}

/** The agent's processor time in the guest for a record of this size. */
export function agentCpuMetric(recordBytes: number): string {
  return `agent CPU, ${bytes(recordBytes)}`;
}

/** The number of records that programs try to emit in a second, at this interval. */
export function offeredMetric(pauseNs: number): string {
  return `offered, every ${count(pauseNs / 1000)} µs`;
}

/** The number of records of {@link offeredMetric} that are delivered. */
export function deliveredMetric(pauseNs: number): string {
  return `delivered, every ${count(pauseNs / 1000)} µs`;
}

/** The time from an event until its consumer has it. */
export const latencyMetric = 'event latency';

/** The possible error of {@link latencyMetric}, because two machines have two clocks. */
export const latencyErrorMetric = `${latencyMetric}, give or take`;
