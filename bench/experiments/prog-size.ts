import { join } from 'node:path';
import { progSizeFigure } from '../chart/prog-size.js';
import type { Measurer } from '../client/client.js';
import type { Experiment } from '../experiment.js';
import type { LabGuest, LabTransport } from '../lab.js';
import { nativeCommand, nativeSamples } from '../limit.js';
import { loadMetric } from '../metrics.js';
import { encodeCallFile } from '../programs/call-file.js';
import { sizedLoadCall } from '../programs/sized.js';
import { expectSamples } from '../samples.js';
import type { Amount, Arm, Batch, Comparison } from '../types.js';
import { warmUp } from './rtt.js';

const sizes = [2, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
const jitWarmup = 300;
const transports = ['tcp', 'vsock-mux', 'vsock-kernel', 'vsock-device'];

/** How the cost of forwarding a load depends on the size of the program. */
export const progSize: Experiment = {
  name: 'prog-size',
  title: 'PROG_LOAD over the size of the program',
  hypothesis:
    'Forwarding adds a round trip to the load of a small program, and to that of a large one the time of carrying its 8 bytes per instruction: the verifier soon outweighs it.',
  parameters: { instructions: sizes, jitWarmup },
  placement: 'host processes and the vCPU unpinned',
  remarks: [
    'The programs are of one instruction that repeats, all of which the verifier walks; a million is as many as it takes. `native` makes the same calls, byte for byte, in the guest.',
  ],
  guest: true,
  full: { boots: 2, rounds: 3, samples: 30, warmup: 2 },
  quick: { boots: 1, rounds: 1, samples: 8, warmup: 1 },
  comparisons: transports.flatMap((arm) =>
    sizes.flatMap((size): Comparison[] => {
      const common = { arm, against: 'native', metric: loadMetric(size), quantile: 'p50' } as const;
      return [
        { kind: 'difference', ...common },
        { kind: 'ratio', ...common },
      ];
    }),
  ),
  async prepare({ guest }) {
    if (guest === undefined) throw new TypeError('the prog-size experiment needs a guest');
    for (const size of sizes) {
      const call = { name: 'PROG_LOAD', call: sizedLoadCall(size, 1) };
      await guest.write(callFile(size), encodeCallFile([call]));
    }
    const { client } = guest;
    await warmUp(client, guest.transports, jitWarmup);
    return {
      arms: [
        nativeArm(guest),
        ...guest.transports.map((transport) => forwardedArm(transport, client)),
      ],
      absent: guest.absent,
      [Symbol.asyncDispose]: async () => {},
    };
  },
  figures: (summary, environment) => [progSizeFigure(summary, environment, sizes)],
};

const callFile = (size: number) => join('/tmp', `load-${size}.calls`);

/** Large programs take seconds each, so that there are fewer of them. */
function countsFor(size: number, { samples, warmup }: Amount) {
  const share = size >= 1_000_000 ? 30 : size >= 100_000 ? 10 : size >= 10_000 ? 4 : 1;
  return {
    samples: Math.max(1, Math.floor(samples / share)),
    warmup: size >= 100_000 ? 0 : warmup,
  };
}

function nativeArm(guest: LabGuest): Arm {
  return {
    name: 'native',
    measure: async (amount) => {
      const batches: Pick<Batch, 'metric' | 'unit' | 'values'>[] = [];
      for (const size of sizes) {
        const counts = countsFor(size, amount);
        const command = nativeCommand(guest.programs.native, callFile(size), 0, counts);
        const values = nativeSamples(await guest.run(command)).get('PROG_LOAD') ?? [];
        expectSamples(loadMetric(size), values.length, counts.samples);
        batches.push({ metric: loadMetric(size), unit: 'ns', values });
      }
      return batches;
    },
  };
}

function forwardedArm(transport: LabTransport, client: Measurer): Arm {
  const { agent: address } = transport;
  return {
    name: transport.name,
    prepare: () => transport.use(),
    measure: async (amount) => {
      const measured: (readonly [string, readonly number[]])[] = [];
      for (const instructions of sizes) {
        const counts = countsFor(instructions, amount);
        const samples = await client.measure({ task: 'load', address, instructions, ...counts });
        measured.push(...samples);
      }
      return measured.map(([metric, values]) => ({ metric, unit: 'ns' as const, values }));
    },
  };
}
