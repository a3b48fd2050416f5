import { loopbackFigure } from '../chart/loopback.js';
import type { Measurer } from '../client/client.js';
import { guestClientFiles, startGuestClient } from '../client/guest-client.js';
import { ratio } from '../comparisons.js';
import { Disposables } from '../disposables.js';
import type { Experiment } from '../experiment.js';
import { type LabGuest, PINGPONG_PORT } from '../lab.js';
import { bulkCommand, limitCommand, limitSamples } from '../limit.js';
import { echoMetric, streamMetric } from '../metrics.js';
import { expectSamples } from '../samples.js';
import type { Amount, Arm, Batch } from '../types.js';

const echoBytes = [64, 1024];
const streamBytes = 1024 * 1024;
const roundBytes = 16 * streamBytes;
const jitWarmup = 2_000;

/** The guest's addresses for itself. Nothing but programs in the guest connects to them. */
const addresses = {
  tcp: `tcp:127.0.0.1:${PINGPONG_PORT}`,
  'vsock-kernel': `vsock:1:${PINGPONG_PORT}`,
} as const;
const stream = streamMetric(streamBytes);

/** What AF_VSOCK costs in a kernel, where there is no device and no other machine. */
export const loopback: Experiment = {
  name: 'loopback',
  title: 'The sockets of one guest: vsock’s loopback and TCP’s',
  hypothesis:
    'Within one kernel a round trip over AF_VSOCK takes at most 1.5 times the time of one over TCP, although vsock’s loopback hands every packet to a worker of the kernel and TCP’s does not; it carries at least as many bytes.',
  parameters: { echoBytes, streamBytes, roundBytes, jitWarmup },
  placement: 'client and server on the guest’s only vCPU, which is unpinned',
  remarks: [
    'Both ends are in the guest: the plain C server, and as client plain C or a stream of waep/transport. So no device, no host and no other machine has a part in it.',
    `A stream is ${roundBytes / streamBytes} MiB in messages of 1 MiB, each sent without waiting for answers; the time ends when the last byte has been read and acknowledged.`,
  ],
  guest: true,
  files: guestClientFiles,
  full: { boots: 1, rounds: 8, samples: 200, warmup: 40 },
  quick: { boots: 1, rounds: 3, samples: 60, warmup: 20 },
  comparisons: ['', '/c'].flatMap((end) => [
    ...echoBytes.map((size) => ratio(`vsock-kernel${end}`, `tcp${end}`, echoMetric(size), 1.5)),
    ratio(`tcp${end}`, `vsock-kernel${end}`, stream, 1),
  ]),
  async prepare({ guest }) {
    if (guest === undefined) throw new TypeError('the loopback experiment needs a guest');
    await using disposables = new Disposables();
    const client = disposables.use(await startGuestClient(guest.spawn));
    const counts = { samples: 1, warmup: jitWarmup };
    for (const address of Object.values(addresses)) {
      await client.measure({ task: 'echo', address, payloadBytes: 64, ...counts });
    }
    const kept = disposables.move();
    return {
      arms: Object.entries(addresses).flatMap(([name, address]) => [
        streamArm(name, address, client),
        limitArm(name, address, guest),
      ]),
      absent: [],
      [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose](),
    };
  },
  figures: (summary, environment) => [loopbackFigure(summary, environment, echoBytes, streamBytes)],
};

type Batches = Pick<Batch, 'metric' | 'unit' | 'values'>[];

/** The batches of one arm, by what times exchanges and what times a stream. */
async function batchesOf(
  echo: (bytes: number) => Promise<readonly number[]>,
  bulk: () => Promise<number>,
  { samples }: Amount,
): Promise<Batches> {
  const batches: Batches = [];
  for (const size of echoBytes) {
    const metric = echoMetric(size);
    const values = await echo(size);
    expectSamples(metric, values.length, samples);
    batches.push({ metric, unit: 'ns', values });
  }
  const values = [Math.round(roundBytes / ((await bulk()) / 1e9))];
  return [...batches, { metric: stream, unit: 'B/s', values }];
}

const oneWay = { requestBytes: streamBytes, replyBytes: 1 };
const messages = roundBytes / streamBytes;

function streamArm(name: string, address: string, client: Measurer): Arm {
  return {
    name,
    measure: (amount) => {
      const { samples, warmup } = amount;
      return batchesOf(
        async (payloadBytes) => {
          const request = { task: 'echo', address, payloadBytes, samples, warmup } as const;
          return (await client.measure(request)).get(echoMetric(payloadBytes)) ?? [];
        },
        async () => {
          const counts = { samples: 1, warmup: messages };
          const found = await client.measure({ task: 'bulk', address, ...oneWay, ...counts });
          return found.get('bulk')?.[0] ?? Number.NaN;
        },
        amount,
      );
    },
  };
}

function limitArm(name: string, address: string, { run, programs }: LabGuest): Arm {
  const { pingpong } = programs;
  return {
    name: `${name}/c`,
    measure: (amount) =>
      batchesOf(
        async (size) => {
          const exchange = { requestBytes: size, replyBytes: size };
          return limitSamples(await run(limitCommand(pingpong, address, exchange, amount)));
        },
        async () => {
          const command = bulkCommand(pingpong, address, oneWay, messages);
          return limitSamples(await run(command))[0] ?? Number.NaN;
        },
        amount,
      ),
  };
}
