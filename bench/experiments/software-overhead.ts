import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { agentPath } from '../../src/paths.js';
import { softwareOverheadFigure } from '../chart/software-overhead.js';
import { Client } from '../client/client.js';
import { exchangeOf, lookupExchange } from '../client/lookup.js';
import { Disposables } from '../disposables.js';
import type { Experiment } from '../experiment.js';
import { freePort, type Lab } from '../lab.js';
import {
  type Exchange,
  floorCommand,
  floorServer,
  limitCommand,
  limitSamples,
  nativeCommand,
  nativeSamples,
} from '../limit.js';
import { commandMetrics, lookupMetric, placedMetric, thesisOverheadNs } from '../metrics.js';
import { run, startServer } from '../process.js';
import { encodeCallFile } from '../programs/call-file.js';
import { expectSamples } from '../samples.js';
import { threadTimes, useBetween } from '../thread-use.js';
import type { Amount, Arm, Batch, Comparison } from '../types.js';
import { warmUp } from './rtt.js';
import { commandBatches, figure2Calls } from './thesis.js';

const exchange = lookupExchange();
const settleMs = 30;
const jitWarmup = 10_000;
const profiledCalls = 10_000;

/** The servers' CPU. Clients run there, too, or on {@link otherCpu}. */
const serverCpu = 1;
const otherCpu = 0;

const placements = [
  { name: 'one core', clientCpu: serverCpu, bound: 1.8 },
  { name: 'a core each', clientCpu: otherCpu, bound: 1.5 },
] as const;

/** The cost of forwarding without a guest: client and agent run on one kernel. */
export const softwareOverhead: Experiment = {
  name: 'software-overhead',
  title: 'What forwarding itself costs, at native speed',
  hypothesis:
    'Over a Unix socket a bpf call through a session takes at most 1.8 times the time of a plain C exchange of the same bytes on one core and 1.5 times with a core each; forwarding adds less than the thesis’ 396 µs and 100 µs.',
  parameters: { lookup: exchange, settleMs, serverCpu, otherCpu, jitWarmup },
  placement: `agent and servers on CPU ${serverCpu}; clients on CPU ${serverCpu} (one core) or ${otherCpu} (a core each, and all commands)`,
  remarks: [
    'MAP_LOOKUP_ELEM is a call through a session, from values to values. `profile.json` says where its time goes. What is called `exchange` there is the sending, the waiting for the other process and the receiving; the rest is JavaScript.',
    'Commands of plain C (`/c`): a plain C process makes the calls for another, with the bytes that a session takes for them, and the same pauses. That is the least that forwarding costs.',
    'PROG_LOAD makes the kernel interrupt every other processor and wait for it. Natively that one has slept for the whole pause; otherwise it has just sent the call. This is presumably why a forwarded PROG_LOAD can take less than a native one and the exchange together, or even less than the native one.',
    'Plain C makes four system calls for an exchange; here there are six: the executor also makes the bpf call itself, and over a Unix socket asks poll(2), so that it is not woken for nothing. The client looks for its answer at once and, for a moment, again and again before it sleeps, where plain C sleeps at once; with a core each that can save a wake-up.',
  ],
  guest: false,
  full: { boots: 3, rounds: 12, samples: 1000, warmup: 300, commands: 25 },
  quick: { boots: 1, rounds: 5, samples: 400, warmup: 200, commands: 8 },
  comparisons: [
    ...placements.flatMap(({ name, bound }) => {
      const metric = placedMetric(lookupMetric, name);
      const ratio = (transport: string): Comparison => ({
        kind: 'ratio',
        arm: transport,
        against: `${transport}/c`,
        metric,
        quantile: 'p50',
      });
      return [
        { ...ratio('unix'), bound },
        { ...ratio('unix'), quantile: 'p99' as const, bound: 3 },
        ratio('tcp'),
        { ...ratio('tcp'), quantile: 'p99' as const },
        // Plain C is not always faster over a Unix socket.
        { ...ratio('unix'), against: 'tcp/c' },
      ];
    }),
    ...['unix', 'tcp'].flatMap((arm) =>
      commandMetrics.flatMap((metric): Comparison[] => {
        const difference = { kind: 'difference', arm, metric, quantile: 'p50' } as const;
        return [
          { ...difference, against: 'native', thesis: thesisOverheadNs[metric] },
          { ...difference, against: `${arm}/c` },
          { ...difference, arm: `${arm}/c`, against: 'native' },
        ];
      }),
    ),
  ],
  async prepare(lab) {
    await using resources = new Disposables();
    const transports = await transportsOf(lab);
    const agent = [
      ...[process.execPath, agentPath, '--quiet', '--insecure-tcp'],
      ...transports.flatMap(({ agent }) => ['--listen', agent]),
    ];
    const agentProcess = resources.use(
      await startServer(agent, {
        ready: `waep-agent: listening on ${transports.at(-1)?.agent}`,
        cpu: serverCpu,
      }),
    );
    const callFile = join(lab.folder, 'figure2.calls');
    await writeFile(callFile, encodeCallFile(figure2Calls));
    for (const { pingpong, floor } of transports) {
      for (const server of [
        [lab.programs.pingpong, 'serve', pingpong],
        floorServer(lab.programs.native, callFile, floor),
      ]) {
        resources.use(await startServer(server, { ready: 'listening', cpu: serverCpu }));
      }
    }
    const clients = new Map(
      placements.map(({ name, clientCpu }) => [name, resources.use(new Client(clientCpu))]),
    );
    for (const client of clients.values()) await warmUp(client, transports, jitWarmup);
    const arms = [
      nativeArm(lab, callFile),
      ...transports.flatMap((transport) => [
        forwardedArm(transport, clients),
        limitArm(transport, lab, callFile),
      ]),
    ];
    const profile = await profileOf(agentProcess.pid, transports);
    const owned = resources.move();
    return {
      arms,
      absent: [],
      records: { profile },
      [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
    };
  },
  figures: (summary, environment) => [softwareOverheadFigure(summary, environment)],
};

interface HostTransport {
  name: string;
  agent: string;
  pingpong: string;
  /** The plain C process that makes calls. */
  floor: string;
}

async function transportsOf(lab: Lab): Promise<HostTransport[]> {
  return [
    {
      name: 'unix',
      agent: `unix:${join(lab.folder, 'agent')}`,
      pingpong: `unix:${join(lab.folder, 'pingpong')}`,
      floor: `unix:${join(lab.folder, 'floor')}`,
    },
    {
      name: 'tcp',
      agent: `tcp:127.0.0.1:${await freePort()}`,
      pingpong: `tcp:127.0.0.1:${await freePort()}`,
      floor: `tcp:127.0.0.1:${await freePort()}`,
    },
  ];
}

/**
 * Profiles a look-up for each placement, on the client's side and in the agent. It uses other
 * clients than the measurement, because a profiler changes how code runs.
 */
async function profileOf(agentPid: number, transports: readonly HostTransport[]) {
  const profiles = [];
  for (const transport of transports.filter(({ name }) => name === 'unix')) {
    for (const { name: placement, clientCpu } of placements) {
      await using client = new Client(clientCpu);
      await warmUp(client, [transport], jitWarmup);
      const before = await threadTimes([agentPid]);
      const profile = await client.profile({ address: transport.agent, calls: profiledCalls });
      const agentCpuUs = useBetween(before, await threadTimes([agentPid])) / 1000;
      const agent = { cpuUsPerCall: agentCpuUs / profiledCalls };
      profiles.push({ transport: transport.name, placement, agent, client: profile });
    }
  }
  return profiles;
}

function nativeArm(lab: Lab, callFile: string): Arm {
  return {
    name: 'native',
    measure: async (amount) => {
      const commands = commandAmount(amount);
      const command = nativeCommand(lab.programs.native, callFile, settleMs, commands);
      return commandBatches(nativeSamples(await run(command, otherCpu)), commands);
    },
  };
}

function forwardedArm(
  { name, agent: address }: HostTransport,
  clients: ReadonlyMap<(typeof placements)[number]['name'], Client>,
): Arm {
  return {
    name,
    measure: async (amount) => {
      const batches: Pick<Batch, 'metric' | 'unit' | 'values'>[] = [];
      const { samples, warmup } = amount;
      for (const [placement, client] of clients) {
        for (const [metric, values] of await client.measure({
          task: 'lookup',
          address,
          samples,
          warmup,
        })) {
          batches.push({ metric: placedMetric(metric, placement), unit: 'ns', values });
        }
      }
      const commands = commandAmount(amount);
      const measured = await clients
        .get('a core each')
        ?.measure({ task: 'commands', address, settleMs, ...commands });
      return [...batches, ...commandBatches(measured ?? new Map(), commands)];
    },
  };
}

function limitArm({ name, pingpong, floor }: HostTransport, lab: Lab, callFile: string): Arm {
  return {
    name: `${name}/c`,
    measure: async (amount) => {
      const batches: Pick<Batch, 'metric' | 'unit' | 'values'>[] = [];
      for (const { name, clientCpu } of placements) {
        const metric = placedMetric(lookupMetric, name);
        batches.push(await limitBatch(metric, exchange, pingpong, lab, amount, clientCpu));
      }
      const commands = commandAmount(amount);
      const command = floorCommand(
        nativeCommand(lab.programs.native, callFile, settleMs, commands),
        floor,
        figure2Calls.map(({ call }) => exchangeOf(call)),
      );
      return [...batches, ...commandBatches(nativeSamples(await run(command, otherCpu)), commands)];
    },
  };
}

/** How often the commands are measured, which take far longer than look-ups. */
function commandAmount(amount: Amount): Amount {
  return { ...amount, samples: amount.commands ?? amount.samples, warmup: 2 };
}

/** One batch of a plain C client's round trips. */
async function limitBatch(
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
