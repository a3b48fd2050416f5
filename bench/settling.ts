import type { LabGuest } from './lab.js';
import { quantile, sorted } from './statistics.js';
import type { Settling } from './types.js';

/** How many results in a row have to be alike. */
const ALIKE = 4;
const MOST_BATCHES = 60;
/** The round trips of a batch, of which a guest in a guest makes fewer in a second. */
const BATCH = 100;
const NESTED_BATCH = 20;
/** How much the largest of alike medians is above the smallest, at most. */
const SPREAD = 1.15;

/** Repeats a measurement until its last results are alike. */
export async function settle(transport: string, measure: () => Promise<number>): Promise<Settling> {
  const mediansNs: number[] = [];
  let settled = false;
  while (!settled && mediansNs.length < MOST_BATCHES) {
    mediansNs.push(await measure());
    const last = mediansNs.slice(-ALIKE);
    settled = last.length === ALIKE && Math.max(...last) <= SPREAD * Math.min(...last);
  }
  return { transport, mediansNs, settled };
}

/**
 * Waits until round trips to a guest take as long as the ones before: an emulator has to translate
 * the guest's code first, so that the first rounds after a boot would be slower.
 */
export async function settleGuest({ environment, transports }: LabGuest): Promise<Settling[]> {
  const samples = environment.outer === undefined ? BATCH : NESTED_BATCH;
  const all: Settling[] = [];
  for (const transport of transports) {
    const exchange = { requestBytes: 64, replyBytes: 64 };
    const measure = async () => {
      const values = await transport.limit(exchange, { samples, warmup: 0 });
      return Math.round(quantile(sorted(values), 0.5));
    };
    all.push(await settle(transport.name, measure));
  }
  return all;
}
