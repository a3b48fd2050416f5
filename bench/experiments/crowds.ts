/* Look-ups that overlap: many in one session, and in many sessions. */
import { crowdFigure } from '../chart/crowd.js';
import type { Measurer } from '../client/client.js';
import type { Crowd } from '../client/protocol.js';
import type { Experiment } from '../experiment.js';
import type { LabTransport } from '../lab.js';
import { crowdMetrics, levelMetric } from '../metrics.js';
import type { Amount, Arm, Unit } from '../types.js';
import { warmUp } from './rtt.js';

const levels = [1, 2, 4, 8, 16, 32, 64];
const jitWarmup = 1_000;

const units: Readonly<Record<string, Unit>> = {
  [crowdMetrics.rate]: 'ops/s',
  [crowdMetrics.call]: 'ns',
};

interface Sweep {
  /** What a level counts, such as `depth` or `sessions`. */
  noun: string;
  /** What that is, for the reader of a chart. */
  counted: string;
  /** How many sessions are opened in a round, beyond those of the last level, to time that. */
  openings: number;
  crowd(level: number): Crowd;
}

function crowdExperiment(
  sweep: Sweep,
  words: Pick<Experiment, 'name' | 'title' | 'hypothesis' | 'remarks' | 'full' | 'quick'>,
): Experiment {
  return {
    ...words,
    parameters: { [sweep.noun]: levels, jitWarmup },
    placement: 'host processes and the vCPU unpinned',
    guest: true,
    comparisons: [],
    async prepare({ guest }) {
      if (guest === undefined) throw new TypeError(`the ${words.name} experiment needs a guest`);
      const { client } = guest;
      await warmUp(client, guest.transports, jitWarmup);
      return {
        arms: guest.transports.map((transport) => crowdArm(transport, client, sweep)),
        absent: guest.absent,
        [Symbol.asyncDispose]: async () => {},
      };
    },
    figures: (summary, environment) => [
      crowdFigure(summary, environment, { ...words, ...sweep, levels }),
    ],
  };
}

function crowdArm(transport: LabTransport, client: Measurer, sweep: Sweep): Arm {
  const { agent: address } = transport;
  return {
    name: transport.name,
    prepare: () => transport.use(),
    measure: async ({ samples, warmup }: Amount) => {
      const measured = [];
      for (const level of levels) {
        const crowd = sweep.crowd(level);
        const found = await client.measure({ task: 'crowd', address, ...crowd, samples, warmup });
        for (const [metric, values] of found) {
          const unit = units[metric] ?? 'ns';
          measured.push({ metric: levelMetric(metric, sweep.noun, level), unit, values });
        }
      }
      if (sweep.openings > 0) {
        const counts = { samples: sweep.openings, warmup: 0 };
        const found = await client.measure({ task: 'opening', address, ...counts });
        for (const [metric, values] of found)
          measured.push({ metric, unit: 'ns' as const, values });
      }
      return measured;
    },
  };
}

/** How many calls a session should have under way. */
export const pipelining: Experiment = crowdExperiment(
  {
    noun: 'depth',
    counted: 'look-ups in flight',
    openings: 0,
    crowd: (depth) => ({ sessions: 1, depth }),
  },
  {
    name: 'pipelining',
    title: 'Look-ups under way at a time, in one session',
    hypothesis:
      'Calls that do not wait for each other share wake-ups and packets: the rate rises with the depth until the guest does nothing but execute them.',
    remarks: [
      '`rate` is that of all look-ups of a round at that depth, from the first call to the last answer; `call` is the time of each of them, in which it waits for those before it.',
    ],
    full: { boots: 2, rounds: 6, samples: 448, warmup: 64 },
    quick: { boots: 1, rounds: 1, samples: 320, warmup: 64 },
  },
);

/** How many sessions an agent serves, and what it costs the others. */
export const sessions: Experiment = crowdExperiment(
  {
    noun: 'sessions',
    counted: 'sessions',
    openings: 5,
    crowd: (count) => ({ sessions: count, depth: 1 }),
  },
  {
    name: 'sessions',
    title: 'Sessions at a time, each with one look-up under way',
    hypothesis:
      'Sessions have a process each in the guest, so that they share its processor fairly: the rate rises until it is busy, and then the time of a call grows with their number.',
    remarks: [
      '`rate` is that of all sessions together; `call` is the time of each look-up. `open a session` is the time from connecting to the agent’s welcome, while all of the others are open: the agent starts a process for it.',
    ],
    full: { boots: 2, rounds: 3, samples: 384, warmup: 64 },
    quick: { boots: 1, rounds: 1, samples: 64, warmup: 64 },
  },
);
