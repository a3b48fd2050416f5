import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { packageFolder } from '../../guest/paths.js';
import { toolsFigure } from '../chart/tools.js';
import type { Amount, Arm, Comparison, Experiment } from '../experiment.js';
import { expectSamples } from '../harness.js';
import type { LabGuest, LabRoad } from '../lab.js';
import { nativeSamples } from '../limit.js';
import { interceptionMetrics, toolMetrics } from '../metrics.js';
import { run } from '../process.js';
import { findUnmodified, type Unmodified, unmodifiedFiles } from '../unmodified.js';

const roads = ['tcp', 'vsock-mux', 'vsock-kernel', 'vsock-device'];
const cli = join(packageFolder, 'dist/src/cli/waep.cjs');
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

const ratio = (arm: string, metric: string, bound?: number): Comparison => ({
  kind: 'ratio',
  arm,
  against: 'guest',
  metric,
  quantile: 'p50',
  ...(bound === undefined ? {} : { bound }),
});

/** Whole runs of unmodified programs, in the guest and from the host. */
export const tools: Experiment = {
  name: 'tools',
  title: 'Unmodified programs: from the host, and in the guest',
  hypothesis:
    'Under `waep run` a tool takes at most 1.5 times what it takes inside the guest, and a probe of all features at most twice; once the guest’s kernel has been probed, half.',
  parameters: { callSamples, callWarmup },
  placement: 'host processes and the vCPU unpinned',
  remarks: [
    'Wall time from fork(2) to the end of the process, `waep run` and its session included, by bench/c/stopwatch.c on both sides.',
    '“uname” is a system call that `waep run` answers without asking the guest: what intercepting costs. MAP_LOOKUP_ELEM is made by the same C program on both sides; from the host it is intercepted and crosses the link.',
  ],
  guest: true,
  files: unmodifiedFiles,
  full: { boots: 1, rounds: 3, samples: 3, warmup: 1 },
  quick: { boots: 1, rounds: 1, samples: 2, warmup: 1 },
  comparisons: roads.flatMap((arm) => [
    ...Object.entries(toolMetrics).map(([name, metric]) =>
      ratio(arm, metric, bounds[name as keyof typeof toolMetrics]),
    ),
    ...interceptionMetrics.map((metric) => ratio(arm, metric)),
  ]),
  async prepare({ guest, folder, programs }) {
    if (guest === undefined) throw new TypeError('the tools experiment needs a guest');
    const unmodified = await findUnmodified();
    // Beside one road the others would only repeat what rtt says of them.
    const road = guest.roads.find(({ name }) => name.startsWith('vsock')) ?? guest.roads[0];
    if (road === undefined) throw new TypeError('the guest has no road');
    const cache = join(folder, 'cache');
    return {
      arms: [
        arm('guest', unmodified, guest.programs, (command) => guest.run(command)),
        {
          ...arm(road.name, unmodified, programs, run, { road, cache }),
          prepare: () => road.use(),
        },
      ],
      absent: guest.absent,
      [Symbol.asyncDispose]: async () => {},
    };
  },
  figures: (summary, environment) => [toolsFigure(summary, environment)],
};

/** What a run from the host takes beyond the command. */
interface Forwarded {
  readonly road: LabRoad;
  /** Where `waep run` keeps what it knows of a guest's kernel. */
  readonly cache: string;
}

function arm(
  name: string,
  { bpftool, bpftrace, hello }: Unmodified,
  programs: LabGuest['programs'],
  execute: (command: readonly string[]) => Promise<string>,
  forwarded?: Forwarded,
): Arm {
  const prefix =
    forwarded === undefined
      ? []
      : [
          ...['env', `WAEP_CACHE_DIR=${forwarded.cache}`],
          ...[process.execPath, cli, 'run', '--vm', forwarded.road.agent, '--'],
        ];
  const timed = async (
    metric: string,
    command: readonly string[],
    { samples, warmup }: Pick<Amount, 'samples' | 'warmup'>,
  ) => {
    const counts = ['--warmup', String(warmup), '--count', String(samples)];
    const label = metric.replaceAll(' ', '-');
    const output = await execute([
      ...[programs.stopwatch, label, ...counts, '--'],
      ...[...prefix, ...command],
    ]);
    const values = nativeSamples(output).get(label) ?? [];
    expectSamples(metric, values.length, samples);
    return { metric, unit: 'ns' as const, values };
  };
  const calls = async (program: string, words: readonly string[], wanted: string) => {
    const counts = ['--warmup', String(callWarmup), '--count', String(callSamples)];
    const output = await execute([...prefix, program, ...words, ...counts]);
    const values = nativeSamples(output).get(wanted) ?? [];
    expectSamples(wanted, values.length, callSamples);
    return { metric: wanted, unit: 'ns' as const, values };
  };
  const once = { samples: 1, warmup: 0 };
  const probe = [bpftool, 'feature', 'probe', 'kernel'];
  const begin = [bpftrace, '-e', 'BEGIN { exit(); }'];
  return {
    name,
    async measure(amount) {
      if (forwarded !== undefined) {
        // What the guest has said in an earlier round is not to be known in this one.
        await rm(forwarded.cache, { recursive: true, force: true });
      }
      return [
        await timed(toolMetrics.show, [bpftool, 'prog', 'show'], amount),
        await timed(toolMetrics.probe, probe, once),
        await timed(toolMetrics.probeAgain, probe, once),
        await timed(toolMetrics.bpftrace, begin, once),
        await timed(toolMetrics.hello, hello, amount),
        await calls(programs.uname, [], 'uname'),
        await calls(programs.maps, ['ops'], 'MAP_LOOKUP_ELEM'),
      ];
    },
  };
}
