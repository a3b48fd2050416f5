import { rttFigure } from '../chart/rtt.js';
import type { Measurer } from '../client/client.js';
import { lookupExchange } from '../client/lookup.js';
import { ratio } from '../comparisons.js';
import type { Experiment } from '../experiment.js';
import type { LabTransport } from '../lab.js';
import { echoCpuMetric, echoMetric, lookupMetric } from '../metrics.js';
import { expectSamples } from '../samples.js';
import type { Arm, Batch, Comparison } from '../types.js';

const exchange = lookupExchange();
/** The messages that have bounds. */
const small = [64, 4096].map(echoMetric);

/** Round trips on some transports, with the processes placed on CPUs. */
type RoundTrips = Pick<
  Experiment,
  'name' | 'title' | 'hypothesis' | 'placement' | 'remarks' | 'full' | 'quick' | 'comparisons'
> & {
  nested?: true;
  payloadBytes: readonly number[];
  /** The calls that are made on each transport first. */
  jitWarmup: number;
  /** How the title of its chart begins. */
  where: string;
  /** The CPU that all of it is kept on, if it is. */
  cpu: number | undefined;
};

function roundTrips(options: RoundTrips): Experiment {
  const { payloadBytes, jitWarmup, where, cpu, ...experiment } = options;
  const { name } = experiment;
  return {
    ...experiment,
    parameters: { payloadBytes, lookup: exchange, jitWarmup },
    guest: true,
    async prepare(lab) {
      const { guest } = lab;
      if (guest === undefined) throw new TypeError(`the ${name} experiment needs a guest`);
      const { client, transports } = guest;
      await guest.pin(cpu);
      await warmUp(client, transports, jitWarmup);
      return {
        arms: transports.flatMap((transport) => [
          streamArm(transport, client, payloadBytes),
          limitArm(transport, cpu, payloadBytes),
        ]),
        absent: guest.absent,
        [Symbol.asyncDispose]: () => guest.pin(undefined),
      };
    },
    figures: (summary, environment) => [
      rttFigure(summary, environment, { payloadBytes, file: name, where }),
    ],
  };
}

/** Each transport's distance to plain C. */
function distances(transports: readonly string[], payloadBytes: readonly number[]): Comparison[] {
  return transports.flatMap((arm) => [
    ratio(arm, `${arm}/c`, lookupMetric, 2),
    ...payloadBytes.map((size) => ratio(arm, `${arm}/c`, echoMetric(size))),
  ]);
}

/** @param bounds how the in-process device should compare with TCP, for the small messages */
function usual(bounds: { stream: number; limit: number }) {
  const payloadBytes = [64, 256, 1024, 4096, 16_384, 65_536];
  const transports = ['tcp', 'vsock-mux', 'vsock-kernel', 'vsock-device'];
  return {
    payloadBytes,
    jitWarmup: 2_000,
    hypothesis:
      'A bpf call through a session takes at most twice the time of a plain C exchange of the same bytes on the same transport; vsock by a device in the process is faster than TCP and than vsock by another process.',
    remarks: [
      'Echo: a stream of waep/transport against the plain C server in the guest. MAP_LOOKUP_ELEM: a call through a session, from values to values, executed by the agent in the guest. The plain C client of vsock-device is the core of the addon without Node. Each of those two has a device of its own in the guest, whose driver changes from one to the other between the arms; vsock-mux leads to a second guest that is booted like the first.',
      'CPU of a round trip of plain C: what the threads used while its samples were taken, by /proc/PID/task/TID/schedstat, shared among them, with the opening of the connection. Of the guest: the threads that run its processor. Of QEMU’s devices: its other threads, which deliver interrupts and move the packets of TCP. The client, the device in its process and the host’s kernel are the rest of the time.',
    ],
    full: { boots: 3, rounds: 10, samples: 200, warmup: 40 },
    quick: { boots: 1, rounds: 5, samples: 60, warmup: 20 },
    comparisons: [
      ...distances(transports, payloadBytes),
      ...small.flatMap((metric) => [
        ratio('vsock-device', 'tcp', metric, bounds.stream),
        ratio('vsock-device/c', 'tcp/c', metric, bounds.limit),
        { ...ratio('vsock-device/c', 'tcp/c', metric, 1), quantile: 'p99' as const },
        ratio('vsock-device', 'vsock-mux', metric, 1),
        ratio('vsock-device/c', 'vsock-mux/c', metric, 1),
      ]),
    ],
  };
}

/** Round trips to the guest: bare streams by size, and a small bpf call. */
export const rtt = roundTrips({
  ...usual({ stream: 0.85, limit: 0.75 }),
  name: 'rtt',
  title: 'Round-trip time per transport, and the distance to plain C',
  placement: 'host processes and the vCPU unpinned',
  where: '',
  cpu: undefined,
});

/** The same with QEMU and everything that talks to it on one CPU. */
export const rttOneCore = roundTrips({
  ...usual({ stream: 0.7, limit: 0.55 }),
  name: 'rtt-one-core',
  title: 'Round-trip time per transport with everything on one core',
  placement: 'QEMU and the host processes on CPU 0',
  where: 'On one core ',
  cpu: 0,
});

const nestedBytes = [64, 1024, 4096];

/** Round trips from a guest to the guest in it: by the kernels' own vsock. */
export const nestedRtt = roundTrips({
  name: 'nested-rtt',
  title: 'Round-trip time from a guest to a guest in it, by the kernels’ own vsock',
  hypothesis:
    'With the vsock of both kernels (vhost_vsock on the host’s side) a round trip takes at most as long as with TCP.',
  placement: 'the guest that is the host has two vCPUs, the one in it has one; all unpinned',
  remarks: [
    'The kernel’s vsock needs vhost_vsock on the host, which not every machine has. So a guest is the host here: its kernel has vhost_vsock, and its QEMU emulates another guest. TCP is virtio-net of that QEMU on a tap device of the outer guest. Both kernels are emulated, the inner one by a program that is emulated itself. Nothing but the ratio between transports of one run means anything.',
  ],
  nested: true,
  payloadBytes: nestedBytes,
  jitWarmup: 100,
  where: 'From a guest to the guest in it ',
  cpu: undefined,
  full: { boots: 1, rounds: 8, samples: 30, warmup: 5 },
  quick: { boots: 1, rounds: 2, samples: 10, warmup: 2 },
  comparisons: [
    ...distances(['tcp', 'vsock-kernel'], nestedBytes),
    ...small.flatMap((metric) => [
      ratio('vsock-kernel', 'tcp', metric, 1),
      ratio('vsock-kernel/c', 'tcp/c', metric, 1),
    ]),
    ratio('vsock-kernel', 'tcp', lookupMetric, 1),
  ],
});

type Batches = Pick<Batch, 'metric' | 'unit' | 'values'>[];

function streamArm(
  transport: LabTransport,
  client: Measurer,
  payloadBytes: readonly number[],
): Arm {
  return {
    name: transport.name,
    prepare: () => transport.use(),
    measure: async ({ samples, warmup }) => {
      const measured = [
        ...(await client.measure({ task: 'lookup', address: transport.agent, samples, warmup })),
      ];
      for (const size of payloadBytes) {
        const address = transport.pingpong;
        measured.push(
          ...(await client.measure({ task: 'echo', address, payloadBytes: size, samples, warmup })),
        );
      }
      return measured.map(([metric, values]) => ({ metric, unit: 'ns' as const, values }));
    },
  };
}

function limitArm(
  transport: LabTransport,
  cpu: number | undefined,
  payloadBytes: readonly number[],
): Arm {
  return {
    name: `${transport.name}/c`,
    measure: async (amount) => {
      const metrics = new Map([[lookupMetric, exchange]]);
      for (const size of payloadBytes) {
        metrics.set(echoMetric(size), { requestBytes: size, replyBytes: size });
      }
      const batches: Batches = [];
      for (const [metric, sizes] of metrics) {
        const measured = small.includes(metric) ? await transport.meters?.cpu() : undefined;
        const values = await transport.limit(sizes, amount, cpu);
        expectSamples(metric, values.length, amount.samples);
        batches.push({ metric, unit: 'ns', values });
        if (measured === undefined) continue;
        const used = await measured();
        const trips = amount.samples + amount.warmup;
        const of = (who: 'the guest' | 'QEMU’s devices', ns: number) =>
          ({ metric: echoCpuMetric(who, metric), unit: 'ns', values: [ns / trips] }) as const;
        batches.push(of('the guest', used.processors), of('QEMU’s devices', used.devices));
      }
      return batches;
    },
  };
}

/**
 * Makes calls on each transport until the client's JavaScript engine has compiled the code for
 * them, because the experiments are about a program that has been running for a while.
 */
export async function warmUp(
  client: Measurer,
  transports: ReadonlyArray<Pick<LabTransport, 'agent'> & Partial<Pick<LabTransport, 'use'>>>,
  calls: number,
): Promise<void> {
  for (const transport of transports) {
    await transport.use?.();
    await client.measure({ task: 'lookup', address: transport.agent, samples: 1, warmup: calls });
  }
}
