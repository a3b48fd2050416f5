import { mapOpsFigure } from '../chart/map-ops.js';
import type { Measurer } from '../client/client.js';
import { ratio } from '../comparisons.js';
import type { Experiment } from '../experiment.js';
import type { LabGuest, LabTransport } from '../lab.js';
import { nativeSamples } from '../limit.js';
import { elementMetrics, entriesMetric } from '../metrics.js';
import { expectSamples } from '../samples.js';
import type { Amount, Arm, Batch } from '../types.js';
import { warmUp } from './rtt.js';

const large = 100_000;
const small = 200;
const batches = [1_000, 10_000, large];
const jitWarmup = 500;
const transports = ['tcp', 'vsock-mux', 'vsock-kernel', 'vsock-device'];

/** How a whole map is read: so many entries, so many at a time. */
const readings = [
  ...batches.map((batch) => ({ entries: large, batch })),
  { entries: small, batch: small },
  { entries: small, batch: 1 },
];

/** The most that a reading of the large map may take, as a factor of the time in the guest. */
const BOUND = 2;

/** A hash map from the host, and from a C program in the guest. */
export const mapOps: Experiment = {
  name: 'map-ops',
  title: 'A hash map in the guest, used from the host',
  hypothesis:
    'Reading a hash map of 100 000 entries through a session takes at most twice the time that a C program in the guest takes with batches of the same size; element by element each operation costs a round trip.',
  parameters: { readingsPerRound: 1, keyBytes: 4, valueBytes: 8, readings, jitWarmup },
  placement: 'host processes and the vCPU unpinned',
  remarks: [
    'Both sides read every entry, decode it and add it up. `native` is bench/c/maps.c in the guest, with plain system calls into buffers that it has touched before; the other arms are `for await (const [key, value] of map.entries())` on the host, which asks for the next batch while it looks at this one.',
  ],
  guest: true,
  full: { boots: 2, rounds: 5, samples: 60, warmup: 10 },
  quick: { boots: 1, rounds: 2, samples: 30, warmup: 5 },
  comparisons: transports.flatMap((arm) => [
    ...batches.map((batch) => ratio(arm, 'native', entriesMetric(large, batch), BOUND)),
    ratio(arm, 'native', entriesMetric(small, small)),
    ratio(arm, 'native', entriesMetric(small, 1)),
    ...elementMetrics.map((metric) => ratio(arm, 'native', metric)),
  ]),
  async prepare({ guest }) {
    if (guest === undefined) throw new TypeError('the map-ops experiment needs a guest');
    const { client } = guest;
    const amount = { boots: 1, rounds: 1, samples: 1, warmup: 2 };
    const arms = [
      nativeArm(guest),
      ...guest.transports.map((transport) => forwardedArm(transport, client)),
    ];
    await warmUp(client, guest.transports, jitWarmup);
    for (const arm of arms) {
      await arm.prepare?.();
      await arm.measure(amount);
    }
    return {
      arms,
      absent: guest.absent,
      [Symbol.asyncDispose]: async () => {},
    };
  },
  figures: (summary, environment) => [mapOpsFigure(summary, environment, large, small, batches)],
};

type Batches = Pick<Batch, 'metric' | 'unit' | 'values'>[];

function nativeArm(guest: LabGuest): Arm {
  const samplesOf = async (command: readonly string[], { samples, warmup }: Counts) => {
    const counts = ['--warmup', String(warmup), '--count', String(samples)];
    return nativeSamples(await guest.run([guest.programs.maps, ...command, ...counts]));
  };
  return {
    name: 'native',
    measure: async (amount) => {
      const measured: Batches = [];
      for (const [metric, values] of await samplesOf(['ops'], amount)) {
        expectSamples(metric, values.length, amount.samples);
        measured.push({ metric, unit: 'ns', values });
      }
      for (const { entries, batch } of readings) {
        const how =
          batch === 1
            ? ['walk', '--entries', String(entries)]
            : ['dump', '--entries', String(entries), '--batch', String(batch)];
        // Once before, so that its buffers have been touched.
        const values = (await samplesOf(how, { samples: 1, warmup: 1 })).get('all') ?? [];
        const metric = entriesMetric(entries, batch);
        expectSamples(metric, values.length, 1);
        measured.push({ metric, unit: 'ns', values });
      }
      return measured;
    },
  };
}

function forwardedArm(transport: LabTransport, client: Measurer): Arm {
  const { agent: address } = transport;
  return {
    name: transport.name,
    prepare: () => transport.use(),
    measure: async (amount) => {
      const { samples, warmup } = amount;
      const measured = [...(await client.measure({ task: 'elements', address, samples, warmup }))];
      for (const { entries, batch } of readings) {
        const how = { entries, batchEntries: batch, samples: 1, warmup: 0 };
        measured.push(...(await client.measure({ task: 'entries', address, ...how })));
      }
      return measured.map(([metric, values]) => ({ metric, unit: 'ns' as const, values }));
    },
  };
}

type Counts = Pick<Amount, 'samples' | 'warmup'>;
