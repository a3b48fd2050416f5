import type { Environment } from '../../bench/environment.js';
import type { Batch } from '../../bench/types.js';

/** Samples around a median, for `boots` × `rounds` rounds; every run of the tests has the same. */
export function syntheticBatches(
  arm: string,
  metric: string,
  median: number,
  { boots = 2, rounds = 4, samples = 25 } = {},
): Batch[] {
  const batches: Batch[] = [];
  for (let boot = 1; boot <= boots; boot++) {
    for (let round = 1; round <= rounds; round++) {
      const values = Array.from({ length: samples }, (_, index) =>
        Math.round(median * (0.95 + (0.1 * index) / (samples - 1) + 0.002 * (round - rounds / 2))),
      );
      batches.push({ boot, round, arm, metric, unit: 'ns', values });
    }
  }
  return batches;
}

/** An environment that no machine has. */
export const syntheticEnvironment: Environment = {
  experiment: 'thesis',
  run: '2020-01-01T000000',
  quick: false,
  accel: 'tcg',
  startedAt: '2020-01-01T00:00:00.000Z',
  finishedAt: '2020-01-01T00:01:00.000Z',
  command: 'npm run bench -- --only thesis',
  title: 'A title',
  hypothesis: 'A hypothesis.',
  parameters: {},
  placement: 'unpinned',
  amount: { boots: 2, rounds: 4, samples: 25, warmup: 1 },
  absent: [{ arm: 'vsock-kernel', why: 'no /dev/vhost-vsock' }],
  source: { commit: '0123456789ab', dirty: false },
  host: {
    kernel: '6.0.0',
    cpuModel: 'Model of a CPU',
    cpus: 2,
    memoryMib: 4096,
    node: '20.0.0',
    v8: '11.3',
    compiler: 'gcc 12',
    clocksource: 'tsc',
    governor: 'none',
  },
  guest: {
    accel: 'tcg',
    why: 'a reason',
    qemu: '7.2.22',
    machine: 'microvm',
    kernel: '6.1.0',
    commandLine: 'console=ttyS0',
    memoryMib: 1536,
    cpus: 1,
    network: 'tap',
    vsock: 'vhost-device-vsock',
  },
};
