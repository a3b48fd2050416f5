import { codecFigure } from '../chart/codec.js';
import { Client } from '../client/client.js';
import type { Codec } from '../client/protocol.js';
import type { Experiment } from '../experiment.js';
import type { Arm, Comparison } from '../types.js';

const codecs: readonly Codec[] = ['fixed-shape', 'cbor-x'];
const metrics = ['encode MAP_LOOKUP_ELEM', 'encode PROG_LOAD', 'decode a reply'];

/** The codec alone, measured with benchmark.js. */
export const codec: Experiment = {
  name: 'codec',
  title: 'Frames encoded and decoded per second: the fixed shape and cbor-x',
  hypothesis:
    'Writing calls at a fixed shape is several times faster than a general CBOR encoder, for the same bytes.',
  parameters: {
    MAP_LOOKUP_ELEM: '128-byte value',
    PROG_LOAD: 'the Figure 2 program',
  },
  placement: 'a fresh process for each arm and round, unpinned',
  remarks: [
    'Measured with benchmark.js: a sample is the rate of one of its cycles of many operations, so the quantiles are those of cycles, not of single operations.',
  ],
  guest: false,
  full: { boots: 1, rounds: 6, samples: 10, warmup: 0 },
  quick: { boots: 1, rounds: 5, samples: 5, warmup: 0 },
  comparisons: metrics.map(
    (metric): Comparison => ({
      kind: 'ratio',
      arm: 'fixed-shape',
      against: 'cbor-x',
      metric,
      quantile: 'p50',
    }),
  ),
  prepare: async () => ({
    arms: codecs.map(codecArm),
    absent: [],
    [Symbol.asyncDispose]: async () => {},
  }),
  figures: (summary, environment) => [codecFigure(summary, environment)],
};

/* A fresh process, because the engine's optimisations for one codec affect the other. */
function codecArm(name: Codec): Arm {
  return {
    name,
    measure: async ({ samples }) => {
      await using client = new Client();
      const measured = await client.measure({ task: 'codec', codec: name, samples });
      return [...measured].map(([metric, values]) => ({ metric, unit: 'ops/s' as const, values }));
    },
  };
}
