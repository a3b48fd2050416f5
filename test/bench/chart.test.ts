import t from 'tap';
import { codecFigure } from '../../bench/chart/codec.js';
import { crowdFigure } from '../../bench/chart/crowd.js';
import { bytes, micros, rate } from '../../bench/chart/format.js';
import { mapOpsFigure } from '../../bench/chart/map-ops.js';
import { progSizeFigure } from '../../bench/chart/prog-size.js';
import { renderSvg } from '../../bench/chart/render.js';
import { rttFigure } from '../../bench/chart/rtt.js';
import { softwareOverheadFigure } from '../../bench/chart/software-overhead.js';
import { thesisFigure } from '../../bench/chart/thesis.js';
import { evenTicks, logarithmicTicks } from '../../bench/chart/ticks.js';
import {
  commandMetrics,
  crowdMetrics,
  echoMetric,
  elementMetrics,
  entriesMetric,
  levelMetric,
  loadMetric,
  lookupMetric,
  openMetric,
  placedMetric,
  thesisOverheadNs,
} from '../../bench/metrics.js';
import { summarise } from '../../bench/summary.js';
import type { Comparison, Summary } from '../../bench/types.js';
import { syntheticBatches, syntheticEnvironment } from './synthetic.js';

const labels = { experiment: 'x', accel: 'tcg', run: 'r' };
const payloadBytes = [64, 4096, 65_536];

const overheads = (...arms: string[]): Comparison[] =>
  commandMetrics.flatMap((metric) =>
    arms.map(
      (arm): Comparison => ({
        kind: 'difference',
        arm,
        against: 'native',
        metric,
        quantile: 'p50',
        thesis: thesisOverheadNs[metric],
      }),
    ),
  );

function commandSummary(...arms: string[]): Summary {
  const batches = commandMetrics.flatMap((metric) =>
    ['native', ...arms].flatMap((arm, index) =>
      syntheticBatches(arm, metric, 500_000 + index * 123_000),
    ),
  );
  return summarise(batches, overheads(...arms), labels);
}

function rttSummary(): Summary {
  const arms = ['tcp', 'tcp/c', 'vsock-mux', 'vsock-mux/c'];
  const metrics = [...payloadBytes.map(echoMetric), lookupMetric];
  const batches = metrics.flatMap((metric, m) =>
    arms.flatMap((arm, a) => syntheticBatches(arm, metric, 200_000 * (m + 1) - a * 20_000)),
  );
  return summarise(batches, [], labels);
}

function softwareSummary(): Summary {
  const lookups = (['one core', 'a core each'] as const).flatMap((placement) =>
    ['unix/c', 'unix', 'tcp/c', 'tcp'].flatMap((arm, index) =>
      syntheticBatches(arm, placedMetric(lookupMetric, placement), 9000 + 4000 * index),
    ),
  );
  const metric = placedMetric(lookupMetric, 'one core');
  const promise = { kind: 'ratio', arm: 'unix', against: 'unix/c', metric, bound: 1.8 } as const;
  const limits = summarise(lookups, [{ ...promise, quantile: 'p50' }], labels);
  const commands = commandSummary('unix', 'tcp');
  return {
    rows: [...limits.rows, ...commands.rows],
    comparisons: [...limits.comparisons, ...commands.comparisons],
  };
}

function codecSummary(): Summary {
  const batches = ['encode call', 'decode reply'].flatMap((metric) =>
    ['fixed-shape', 'cbor-x'].flatMap((arm, index) =>
      syntheticBatches(arm, metric, 11_000_000 / (1 + 9 * index)),
    ),
  );
  return summarise(
    batches.map((batch) => ({ ...batch, unit: 'ops/s' as const })),
    [],
    labels,
  );
}

function sweepSummary(metrics: readonly string[], arms: readonly string[]): Summary {
  const batches = metrics.flatMap((metric, m) =>
    arms.flatMap((arm, a) => syntheticBatches(arm, metric, 50_000 * (m + 1) * (a + 1))),
  );
  const ratios = metrics.flatMap((metric) =>
    arms.slice(1).map((arm): Comparison => {
      return { kind: 'ratio', arm, against: arms[0] ?? '', metric, quantile: 'p50' };
    }),
  );
  return summarise(batches, ratios, labels);
}

const guestArms = ['native', 'tcp', 'vsock-mux'];
const transports = guestArms.slice(1);
const mapMetrics = [
  ...elementMetrics,
  ...[1000, 10_000].map((batch) => entriesMetric(10_000, batch)),
  ...[1, 200].map((batch) => entriesMetric(200, batch)),
];
const loads = [2, 1000, 1_000_000];
const levels = [1, 8, 64];
const crowd = (noun: string) =>
  levels.flatMap((level) =>
    Object.values(crowdMetrics).map((metric) => levelMetric(metric, noun, level)),
  );

const figures = [
  {
    figure: thesisFigure(commandSummary('tcp', 'vsock-mux'), syntheticEnvironment),
    words: [...commandMetrics, 'native', 'tcp', 'vsock-mux', '396', 'thesis, 2020', 'n = 200'],
  },
  {
    figure: rttFigure(rttSummary(), syntheticEnvironment, payloadBytes, 'rtt'),
    words: ['64 B', '4 KiB', '64 KiB', 'vsock-mux, plain C (limit)', lookupMetric],
  },
  {
    figure: softwareOverheadFigure(softwareSummary(), {
      ...syntheticEnvironment,
      parameters: { serverCpu: 7, otherCpu: 6 },
    }),
    words: [
      ...['unix/c', 'both on one core', 'a core each', '396'],
      'every server on CPU 7, every client on CPU 6',
      'unix ÷ unix/c: p50 1.44 × (at most 1.80)',
    ],
  },
  {
    figure: codecFigure(codecSummary(), syntheticEnvironment),
    words: ['fixed-shape', 'cbor-x', '11.0 M/s'],
  },
  {
    figure: mapOpsFigure(
      sweepSummary(mapMetrics, guestArms),
      syntheticEnvironment,
      10_000,
      200,
      [1000, 10_000],
    ),
    words: ['10,000 entries, all at once', '200 entries, one by one', 'promised: at most 2'],
  },
  {
    figure: progSizeFigure(
      sweepSummary(loads.map(loadMetric), guestArms),
      syntheticEnvironment,
      loads,
    ),
    words: ['instructions', '1 M', 'Times the native load', ...guestArms],
  },
  {
    figure: crowdFigure(sweepSummary(crowd('depth'), transports), syntheticEnvironment, {
      ...{ name: 'pipelining', title: 'Overlapping', noun: 'depth', levels },
    }),
    words: ['Overlapping', 'Look-ups per second', 'depth', '64', ...transports],
  },
  {
    figure: crowdFigure(
      sweepSummary([...crowd('sessions'), openMetric], transports),
      syntheticEnvironment,
      { name: 'sessions', title: 'Crowds', noun: 'sessions', levels },
    ),
    words: ['Crowds', 'Opening one more beside 64', ...transports],
  },
];

for (const { figure, words } of figures) {
  t.test(`the ${figure.file} chart`, async (t) => {
    const svg = await renderSvg(figure.spec);
    t.equal(svg, await renderSvg(figure.spec), 'the same samples give the same chart');
    for (const word of [...words, 'Emulated guest (TCG)', 'Linux 6.1.0', 'run 2020-01-01T000000']) {
      t.ok(svg.includes(word), `says "${word}"`);
    }
    t.match(svg, /<rect width="\d+(\.\d+)?" height="\d+(\.\d+)?" fill="#ffffff"/, 'is opaque');
    t.notMatch(svg, /NaN|undefined/, 'has no holes');
  });
}

t.test('a chart of an arm that was not measured leaves it out', async (t) => {
  const { spec } = thesisFigure(commandSummary('tcp'), syntheticEnvironment);
  t.notOk((await renderSvg(spec)).includes('vsock-mux'));
});

t.test('ticks are round numbers within the axis', async (t) => {
  t.same(evenTicks(0, 2900), [0, 500, 1000, 1500, 2000, 2500]);
  t.same(evenTicks(-130, 1000), [0, 200, 400, 600, 800]);
  t.same(evenTicks(0, 50), [0, 10, 20, 30, 40]);
  t.same(logarithmicTicks(230, 3900), [300, 500, 1000, 2000, 3000]);
});

t.test('numbers are printed for people', async (t) => {
  t.same([8312, 84_600, 396_000, 11_234_567, -2000].map(micros), [
    ...['8.31', '84.6', '396', '11,235', '−2.00'],
  ]);
  t.same([64, 1024, 65_536, 1536].map(bytes), ['64 B', '1 KiB', '64 KiB', '1.5 KiB']);
  t.same([950, 81_200, 11_600_000].map(rate), ['950 /s', '81.2 k/s', '11.6 M/s']);
});
