import { rttFigure } from '../chart/rtt.js';
import { Disposables } from '../disposables.js';
import type { Amount, Arm, Batch, Comparison, Experiment } from '../experiment.js';
import { expectSamples } from '../harness.js';
import type { Lab, LabRoad } from '../lab.js';
import { type Exchange, limitCommand, limitSamples } from '../limit.js';
import { echoMetric, lookupMetric } from '../metrics.js';
import { lookupExchange } from '../probe/lookup.js';
import { Probe } from '../probe/probe.js';
import { run } from '../process.js';

const payloadBytes = [64, 256, 1024, 4096, 16_384, 65_536];
const roads = ['tcp', 'vsock-mux', 'vsock-kernel', 'vsock-device'];
const exchange = lookupExchange();
const jitWarmup = 2_000;

const against = (arm: string, metric: string, bound?: number): Comparison => ({
  kind: 'ratio',
  arm,
  against: `${arm}/c`,
  metric,
  quantile: 'p50',
  ...(bound === undefined ? {} : { bound }),
});

/** Round trips to the guest: bare streams by size, and a small bpf call. */
export const rtt: Experiment = {
  name: 'rtt',
  title: 'Round-trip time per road, and the distance to plain C',
  hypothesis:
    'A bpf call through a session takes at most twice the time of a plain C exchange of the same bytes on the same road; vsock is no slower than TCP.',
  parameters: { payloadBytes, lookup: exchange, jitWarmup },
  placement: 'host processes and the vCPU unpinned',
  remarks: [
    'Echo: a stream of waep/transport against the plain C server in the guest. MAP_LOOKUP_ELEM: a call through a session, from values to values, executed by the agent in the guest.',
  ],
  guest: true,
  full: { boots: 3, rounds: 10, samples: 200, warmup: 40 },
  quick: { boots: 1, rounds: 5, samples: 60, warmup: 20 },
  comparisons: roads.flatMap((arm) => [
    against(arm, lookupMetric, 2),
    ...payloadBytes.map((size) => against(arm, echoMetric(size))),
  ]),
  async prepare(lab) {
    if (lab.guest === undefined) throw new TypeError('the rtt experiment needs a guest');
    await using owned = new Disposables();
    const probe = owned.use(new Probe());
    await warmUp(probe, lab.guest.roads, jitWarmup);
    const kept = owned.move();
    return {
      arms: lab.guest.roads.flatMap((road) => [streamArm(road, probe), limitArm(road, lab)]),
      absent: lab.guest.absent,
      [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose](),
    };
  },
  figures: (summary, environment) => [rttFigure(summary, environment, payloadBytes)],
};

type Batches = Pick<Batch, 'metric' | 'unit' | 'values'>[];

function streamArm(road: LabRoad, probe: Probe): Arm {
  return {
    name: road.name,
    measure: async ({ samples, warmup }) => {
      const measured = [
        ...(await probe.measure({ task: 'lookup', address: road.agent, samples, warmup })),
      ];
      for (const size of payloadBytes) {
        const address = road.pingpong;
        measured.push(
          ...(await probe.measure({ task: 'echo', address, payloadBytes: size, samples, warmup })),
        );
      }
      return measured.map(([metric, values]) => ({ metric, unit: 'ns' as const, values }));
    },
  };
}

function limitArm(road: LabRoad, lab: Lab): Arm {
  return {
    name: `${road.name}/c`,
    measure: async (amount) => {
      const batches: Batches = [
        await limitBatch(lookupMetric, exchange, road.pingpong, lab, amount),
      ];
      for (const size of payloadBytes) {
        const sizes = { requestBytes: size, replyBytes: size };
        batches.push(await limitBatch(echoMetric(size), sizes, road.pingpong, lab, amount));
      }
      return batches;
    },
  };
}

/**
 * Has a probe make calls on each road until its JavaScript engine has compiled what they need: the
 * experiments are about a program that has been running for a while.
 */
export async function warmUp(
  probe: Probe,
  roads: ReadonlyArray<{ agent: string }>,
  calls: number,
): Promise<void> {
  for (const { agent: address } of roads) {
    await probe.measure({ task: 'lookup', address, samples: 1, warmup: calls });
  }
}

/** One batch of a plain C client's round trips. */
export async function limitBatch(
  metric: string,
  sizes: Exchange,
  address: string,
  lab: Lab,
  amount: Amount,
  cpu?: number,
) {
  const command = limitCommand(lab.programs.pingpong, address, sizes, amount);
  const values = limitSamples(await run(command, cpu));
  expectSamples(metric, values.length, amount.samples);
  return { metric, unit: 'ns' as const, values };
}
