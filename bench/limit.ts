import type { Amount } from './types.js';

/** One exchange of the plain C ping-pong. */
export interface Exchange {
  requestBytes: number;
  replyBytes: number;
  /** How long the client sleeps before each. Default 0. */
  pauseNs?: number;
}

/**
 * The command line of a plain C client that measures a transport's limit; see bench/c/pingpong.c.
 */
export function limitCommand(
  pingpong: string,
  address: string,
  exchange: Exchange,
  amount: Pick<Amount, 'samples' | 'warmup'>,
): string[] {
  return [
    ...[pingpong, 'client', address],
    ...['--request', String(exchange.requestBytes), '--reply', String(exchange.replyBytes)],
    ...['--warmup', String(amount.warmup), '--count', String(amount.samples)],
    ...['--pause', String(exchange.pauseNs ?? 0)],
  ];
}

/** The samples in the output of {@link limitCommand}, in nanoseconds. */
export function limitSamples(output: string): number[] {
  return lines(output).map(Number);
}

/** The command line of a plain C client that sends all requests before it receives a reply. */
export function bulkCommand(
  pingpong: string,
  address: string,
  { requestBytes, replyBytes }: Exchange,
  messages: number,
): string[] {
  return [
    ...[pingpong, 'bulk', address],
    ...['--request', String(requestBytes), '--reply', String(replyBytes)],
    ...['--count', String(messages)],
  ];
}

/** The command line of the plain C maker of bpf calls; see bench/c/native.c. */
export function nativeCommand(
  native: string,
  callFile: string,
  settleMs: number,
  amount: Pick<Amount, 'samples' | 'warmup'>,
): string[] {
  return [
    ...[native, '--calls', callFile, '--settle', String(settleMs)],
    ...['--warmup', String(amount.warmup), '--count', String(amount.samples)],
  ];
}

/**
 * The command line of the plain C process that makes the calls of {@link floorCommand} for another.
 */
export function floorServer(native: string, callFile: string, address: string): string[] {
  return [native, '--calls', callFile, '--serve', address];
}

/**
 * Like {@link nativeCommand}, except that another plain C process makes the calls. That is the least
 * that forwarding costs.
 *
 * @param exchanges how many bytes each call takes, and its answer
 */
export function floorCommand(
  native: readonly string[],
  address: string,
  exchanges: readonly Exchange[],
): string[] {
  const sizes = exchanges.map((one) => `${one.requestBytes}:${one.replyBytes}`);
  return [...native, '--at', address, '--sizes', sizes.join()];
}

/** The samples in the output of {@link nativeCommand}, in nanoseconds, by the call's name. */
export function nativeSamples(output: string): Map<string, number[]> {
  const samples = new Map<string, number[]>();
  for (const line of lines(output)) {
    const [name = '', value] = line.split(' ');
    const found = samples.get(name);
    if (found === undefined) samples.set(name, [Number(value)]);
    else found.push(Number(value));
  }
  return samples;
}

function lines(output: string): string[] {
  return output.split('\n').filter((line) => line !== '');
}
