import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { packageFolder } from '../../src/paths.js';
import { toolsFigure } from '../chart/tools.js';
import { ratio } from '../comparisons.js';
import type { Experiment } from '../experiment.js';
import type { LabGuest } from '../lab.js';
import { nativeSamples } from '../limit.js';
import { interceptionMetrics, lookupMetric, nodeMetric, toolMetrics } from '../metrics.js';
import { run, startServer } from '../process.js';
import { expectSamples } from '../samples.js';
import type { Amount, Arm } from '../types.js';
import { findUnmodified, type Unmodified, unmodifiedFiles } from '../unmodified.js';

const transports = ['tcp', 'vsock-mux', 'vsock-kernel', 'vsock-device'];
const waep = join(packageFolder, 'bin/waep');
/** The arm of a transport on which a process stands by. */
const standing = (transport: string) => `${transport}/standby`;
const callSamples = 300;
const callWarmup = 100;

/** The bounds of {@link toolMetrics}, as factors of the time inside the guest. */
const bounds: Readonly<Record<keyof typeof toolMetrics, number>> = {
  show: 1.5,
  probe: 2,
  probeAgain: 0.5,
  bpftrace: 1.5,
  hello: 1.5,
};

/** Whole runs of unmodified programs, in the guest and from the host. */
export const tools: Experiment = {
  name: 'tools',
  title: 'Unmodified programs: from the host, and in the guest',
  hypothesis:
    'Under `waep run`, with or without a `waep standby` for the guest, a tool takes at most 1.5 times what it takes inside the guest, and a probe of all features at most twice; once the guest’s kernel has been probed, half.',
  parameters: { callSamples, callWarmup },
  placement: 'host processes and the vCPU unpinned',
  remarks: [
    'Wall time from fork(2) to the end of the process, `waep run` and its session included, by bench/c/stopwatch.c on both sides.',
    'standby: a `waep standby` for the guest has a session ready, and has run each of the programs before. Without it each `waep run` starts Node, opens its session and compiles its code on the way.',
    '“Node, doing nothing” is the start and the end of a Node that runs an empty program.',
    '“uname” is a system call that `waep run` answers without asking the guest: what intercepting costs. MAP_LOOKUP_ELEM is made by the same C program on both sides; from the host it is intercepted and crosses the link.',
  ],
  guest: true,
  files: unmodifiedFiles,
  profile: 'full',
  full: { boots: 2, rounds: 3, samples: 3, warmup: 1 },
  quick: { boots: 1, rounds: 1, samples: 2, warmup: 1 },
  comparisons: transports.flatMap((transport) => [
    ...Object.entries(toolMetrics).flatMap(([name, metric]) =>
      [standing(transport), transport].map((arm) =>
        ratio(arm, 'guest', metric, bounds[name as keyof typeof toolMetrics]),
      ),
    ),
    ...[standing(transport), transport].flatMap((arm) =>
      interceptionMetrics.map((metric) => ratio(arm, 'guest', metric)),
    ),
  ]),
  async prepare({ guest, folder, programs }) {
    if (guest === undefined) throw new TypeError('the tools experiment needs a guest');
    const unmodified = await findUnmodified();
    // One transport is enough: rtt compares the others.
    const transport =
      guest.transports.find(({ name }) => name.startsWith('vsock')) ?? guest.transports[0];
    if (transport === undefined) throw new TypeError('the guest has no transport');
    await transport.use();
    const cache = join(folder, 'cache');
    const commands = commandsOf(unmodified);
    const environment = ['env', `WAEP_CACHE_DIR=${cache}`];
    const words = ['run', '--vm', transport.agent, '--'];
    const onHost = side(programs, run, [...environment, waep, ...words]);
    const failing = await tryAll(onHost, commands);
    const forget = () => rm(cache, { recursive: true, force: true });
    const working = commands.filter(({ metric }) => !failing.has(metric));
    const inGuest = side(guest.programs, guest.run);
    // Once before, as on the other side: their files are in memory then.
    await tryAll(inGuest, working);
    return {
      arms: [
        arm('guest', inGuest, working),
        {
          name: transport.name,
          async measure(amount) {
            const batches = await arm(transport.name, onHost, working, forget).measure(amount);
            const bare = ['env', '-u', 'NODE_EXTRA_CA_CERTS', process.execPath, '--eval', '0'];
            const node = { metric: nodeMetric, words: bare, once: false };
            return [...batches, await timed(side(programs, run), node, amount)];
          },
        },
        {
          name: standing(transport.name),
          async measure(amount) {
            // Only during the measurement, because the agent keeps no executor ready while it has a
            // session.
            const command = [...environment, waep, 'standby', '--vm', transport.agent];
            await using _ = await startServer(command, { ready: 'Ready' });
            await tryAll(onHost, working);
            return await arm(transport.name, onHost, working, forget).measure(amount);
          },
        },
      ],
      absent: [
        ...guest.absent,
        ...[...failing].map(([metric, why]) => ({ arm: `${transport.name}: ${metric}`, why })),
      ],
      [Symbol.asyncDispose]: async () => {},
    };
  },
  figures: (summary, environment) => [toolsFigure(summary, environment)],
};

/** A whole run that is timed. */
interface ToolCommand {
  readonly metric: string;
  readonly words: readonly string[];
  /** Whether it runs only once in a round, because it takes long or leaves something behind. */
  readonly once: boolean;
}

function commandsOf({ bpftool, bpftrace, hello }: Unmodified): ToolCommand[] {
  const probe = [bpftool, 'feature', 'probe', 'kernel'];
  return [
    { metric: toolMetrics.show, words: [bpftool, 'prog', 'show'], once: false },
    { metric: toolMetrics.probe, words: probe, once: true },
    { metric: toolMetrics.probeAgain, words: probe, once: true },
    { metric: toolMetrics.bpftrace, words: [bpftrace, '-e', 'BEGIN { exit(); }'], once: true },
    { metric: toolMetrics.hello, words: hello, once: false },
  ];
}

/** Where commands run, and what is put before them. */
interface Side {
  readonly programs: LabGuest['programs'];
  readonly execute: (command: readonly string[]) => Promise<string>;
  readonly prefix: readonly string[];
}

function side(
  programs: Side['programs'],
  execute: Side['execute'],
  prefix: readonly string[] = [],
): Side {
  return { programs, execute, prefix };
}

/** Runs each command once. Returns the reasons of those that fail, by metric. */
async function tryAll(
  { execute, prefix }: Side,
  commands: readonly ToolCommand[],
): Promise<Map<string, string>> {
  const failing = new Map<string, string>();
  for (const { metric, words } of commands) {
    await execute([...prefix, ...words]).catch(({ message }: Error) =>
      failing.set(metric, message),
    );
  }
  return failing;
}

/** @param forget is called before each round: what earlier ones have asked is not to be known */
function arm(
  name: string,
  where: Side,
  commands: readonly ToolCommand[],
  forget: () => Promise<void> = async () => {},
): Arm {
  const { programs, execute, prefix } = where;
  const calls = async (program: string, words: readonly string[], metric: string) => {
    const counts = ['--warmup', String(callWarmup), '--count', String(callSamples)];
    const output = await execute([...prefix, program, ...words, ...counts]);
    return batch(metric, nativeSamples(output).get(metric), callSamples);
  };
  return {
    name,
    async measure(amount) {
      await forget();
      const batches = [];
      for (const command of commands) batches.push(await timed(where, command, amount));
      batches.push(await calls(programs.uname, [], 'uname'));
      batches.push(await calls(programs.maps, ['ops'], lookupMetric));
      return batches;
    },
  };
}

/** Times whole runs of a command. */
async function timed(
  { programs, execute, prefix }: Side,
  { metric, words, once }: ToolCommand,
  amount: Amount,
) {
  const { samples, warmup } = once ? { samples: 1, warmup: 0 } : amount;
  const counts = ['--warmup', String(warmup), '--count', String(samples)];
  const label = metric.replaceAll(' ', '-');
  const stopwatch = [programs.stopwatch, label, ...counts, '--'];
  const output = await execute([...stopwatch, ...prefix, ...words]);
  return batch(metric, nativeSamples(output).get(label), samples);
}

function batch(metric: string, values: readonly number[] = [], expected: number) {
  expectSamples(metric, values.length, expected);
  return { metric, unit: 'ns' as const, values };
}
