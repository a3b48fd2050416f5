import { kernelsFigure } from '../chart/kernels.js';
import { ratio } from '../comparisons.js';
import { Disposables } from '../disposables.js';
import type { Experiment } from '../experiment.js';
import { bootKernels, type KernelGuest, kernelSuites, prepareKernels } from '../kernel-guests.js';
import { bulkMetric, echoMetric, onKernelMetric } from '../metrics.js';
import type { Arm, Batch } from '../types.js';

const MIB = 1024 * 1024;
const echoBytes = [64, 4096];
const directions = ['to the guest', 'from the guest'] as const;
/** Many small messages, and few large ones. */
const transfers = [
  { size: 1024, bytes: 2 * MIB },
  { size: 64 * 1024, bytes: 16 * MIB },
].flatMap((transfer) => directions.map((direction) => ({ ...transfer, direction })));
export const transports = ['tcp', 'vsock-device'] as const;

/** The factor by which the device may be slower than TCP, in a round trip or in throughput. */
export const worstFactor = 2;

/** The metrics that belong to a kernel, with the arm that should not be larger by a factor. */
export function kernelComparisons(suites: readonly string[]) {
  return suites.flatMap((suite) => [
    ...echoBytes.map((size) =>
      ratio('vsock-device', 'tcp', onKernelMetric(echoMetric(size), suite), worstFactor),
    ),
    ...transfers.map(({ size, direction }) =>
      ratio('tcp', 'vsock-device', onKernelMetric(bulkMetric(size, direction), suite), worstFactor),
    ),
  ]);
}

type Batches = Pick<Batch, 'metric' | 'unit' | 'values'>[];

/** Round trips and throughput of one transport to one guest. */
export async function measureKernel(
  { suite, client, pingpong }: KernelGuest,
  transport: (typeof transports)[number],
  counts: { samples: number; warmup: number },
): Promise<Batches> {
  const address = pingpong[transport];
  const batches: Batches = [];
  for (const payloadBytes of echoBytes) {
    const metric = echoMetric(payloadBytes);
    const found = await client.measure({ task: 'echo', address, payloadBytes, ...counts });
    batches.push({
      metric: onKernelMetric(metric, suite),
      unit: 'ns',
      values: found.get(metric) ?? [],
    });
  }
  for (const { size, bytes, direction } of transfers) {
    const sizes =
      direction === 'to the guest'
        ? { requestBytes: size, replyBytes: 1 }
        : { requestBytes: 1, replyBytes: size };
    const found = await client.measure({
      task: 'bulk',
      address,
      ...sizes,
      samples: 1,
      warmup: bytes / size,
    });
    const elapsedNs = found.get('bulk')?.[0] ?? Number.NaN;
    batches.push({
      metric: onKernelMetric(bulkMetric(size, direction), suite),
      unit: 'B/s',
      values: [Math.round(bytes / (elapsedNs / 1e9))],
    });
  }
  return batches;
}

/** The in-process device and TCP, with guests of these suites' kernels. */
export function kernels(suites: readonly string[] = kernelSuites): Experiment {
  return {
    name: 'kernels',
    title: 'The device and TCP, by the guest’s kernel',
    hypothesis: `On no kernel is the in-process device worse than TCP by a factor of ${worstFactor}, in round trips or in throughput, in either direction.`,
    parameters: { suites, echoBytes, transfers },
    placement: 'host processes and the vCPUs unpinned',
    remarks: [
      'Guests of all kernels are up at the same time and measured one after the other, first on one transport and then on the other. The client is TypeScript; the other end is the plain C server in the guest. Messages are sent without waiting for answers; the time ends when the last byte has been read and acknowledged.',
    ],
    guest: false,
    suites,
    full: { boots: 1, rounds: 8, samples: 200, warmup: 100 },
    quick: { boots: 1, rounds: 2, samples: 60, warmup: 30 },
    comparisons: kernelComparisons(suites),
    files: async (progress) => {
      await prepareKernels(suites, progress);
      return {};
    },
    async prepare() {
      await using resources = new Disposables();
      const guests = await bootKernels(suites, resources);
      const [first] = guests;
      if (first === undefined) throw new RangeError('there is no suite');
      const arms = transports.map(
        (transport): Arm => ({
          name: transport,
          measure: async (amount) => {
            const batches: Batches = [];
            for (const guest of guests)
              batches.push(...(await measureKernel(guest, transport, amount)));
            return batches;
          },
        }),
      );
      const owned = resources.move();
      return {
        arms,
        absent: [],
        records: { guests: guests.map(({ suite, environment }) => ({ suite, ...environment })) },
        guest: {
          ...first.environment,
          kernel: guests.map(({ environment }) => environment.kernel).join(', '),
        },
        [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
      };
    },
    figures: (summary, environment) => [kernelsFigure(summary, environment, suites)],
  };
}
