import { throughputFigure } from '../chart/throughput.js';
import { ratio } from '../comparisons.js';
import type { Experiment } from '../experiment.js';
import type { LabGuest, LabTransport, Use } from '../lab.js';
import type { Exchange } from '../limit.js';
import { bulkCpuMetric, bulkMetric } from '../metrics.js';
import type { Arm, Batch } from '../types.js';

const payloadBytes = [64 * 1024, 1024 * 1024];
const directions = ['to the guest', 'from the guest'] as const;
const roundBytes = 16 * 1024 * 1024;
const transports = ['tcp', 'vsock-mux', 'vsock-kernel', 'vsock-device'];

type Direction = (typeof directions)[number];

const transfers = payloadBytes.flatMap((size) =>
  directions.map((direction) => ({ size, direction, metric: bulkMetric(size, direction) })),
);

/** How many bytes a second each transport carries. */
export const throughput: Experiment = {
  name: 'throughput',
  title: 'Throughput per transport and direction',
  hypothesis:
    'A vsock device in the process carries at least 1.3 times as much as vhost-device-vsock does.',
  parameters: { payloadBytes, roundBytes },
  placement: 'host processes and the vCPU unpinned',
  remarks: [
    `${roundBytes / 1024 / 1024} MiB in messages of the given size, without waiting for answers; the time ends when the last byte has been read and acknowledged. The other end is the plain C server in the guest.`,
    'CPU: what all threads used during the transfer, by /proc/PID/task/TID/schedstat. The host’s side is the TypeScript client, and the daemon between where there is one; the guest’s is QEMU, which emulates it. What the kernel does for TCP on its own account is in neither.',
  ],
  guest: true,
  full: { boots: 3, rounds: 6, samples: 1, warmup: 0 },
  quick: { boots: 1, rounds: 2, samples: 1, warmup: 0 },
  comparisons: transfers.flatMap(({ metric }) => [
    ratio('vsock-device', 'tcp', metric),
    ratio('vsock-device', 'vsock-mux', metric),
    ratio('vsock-device/c', 'vsock-mux/c', metric),
    ...transports.slice(1).map((arm) => ratio(`${arm}/c`, 'tcp/c', metric)),
  ]),
  async prepare({ guest }) {
    if (guest === undefined) throw new TypeError('the throughput experiment needs a guest');
    return {
      arms: guest.transports.flatMap((transport) => [
        streamArm(transport, guest),
        limitArm(transport),
      ]),
      absent: guest.absent,
      [Symbol.asyncDispose]: async () => {},
    };
  },
  figures: (summary, environment) => [throughputFigure(summary, environment, payloadBytes)],
};

function exchangeOf(size: number, direction: Direction): Exchange {
  return direction === 'to the guest'
    ? { requestBytes: size, replyBytes: 1 }
    : { requestBytes: 1, replyBytes: size };
}

type Batches = Pick<Batch, 'metric' | 'unit' | 'values'>[];

async function measureAll(
  bulk: (exchange: Exchange, messages: number) => Promise<number>,
): Promise<Batches> {
  const batches: Batches = [];
  for (const { size, direction, metric } of transfers) {
    const elapsedNs = await bulk(exchangeOf(size, direction), roundBytes / size);
    batches.push({ metric, unit: 'B/s', values: [Math.round(roundBytes / (elapsedNs / 1e9))] });
  }
  return batches;
}

function streamArm(transport: LabTransport, guest: LabGuest): Arm {
  const { client } = guest;
  return {
    name: transport.name,
    prepare: () => transport.use(),
    measure: async () => {
      const used: Use[] = [];
      const batches = await measureAll(async (exchange, messages) => {
        const address = transport.pingpong;
        const counts = { samples: 1, warmup: messages };
        const measured = await transport.meters?.cpu();
        const found = await client.measure({ task: 'bulk', address, ...exchange, ...counts });
        if (measured !== undefined) used.push(await measured());
        return found.get('bulk')?.[0] ?? 0;
      });
      const mebibytes = roundBytes / 1024 / 1024;
      const cpu = used.flatMap((of, i) =>
        (['host', 'guest'] as const).map((side) => ({
          metric: bulkCpuMetric(side, transfers[i]?.metric ?? ''),
          unit: 'ns' as const,
          values: [of[side] / mebibytes],
        })),
      );
      return [...batches, ...cpu];
    },
  };
}

function limitArm(transport: LabTransport): Arm {
  return {
    name: `${transport.name}/c`,
    measure: () => measureAll((exchange, messages) => transport.bulk(exchange, messages)),
  };
}
