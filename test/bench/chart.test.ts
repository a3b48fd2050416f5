import t from 'tap';
import { codecFigure } from '../../bench/chart/codec.js';
import { crowdFigure } from '../../bench/chart/crowd.js';
import { bytes, duration, micros, rate, tick, whiskers } from '../../bench/chart/format.js';
import { mapOpsFigure } from '../../bench/chart/map-ops.js';
import { progSizeFigure } from '../../bench/chart/prog-size.js';
import { rttFigure } from '../../bench/chart/rtt.js';
import { softwareOverheadFigure } from '../../bench/chart/software-overhead.js';
import { thesisFigure } from '../../bench/chart/thesis.js';
import { evenTicks, logarithmicTicks } from '../../bench/chart/ticks.js';
import { ratio } from '../../bench/comparisons.js';
import {
  commandMetrics,
  crowdMetrics,
  echoMetric,
  elementMetrics,
  entriesMetric,
  levelMetric,
  loadMetric,
  lookupMetric,
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
  const ratios = [64, 4096].map((size) => ratio('vsock-mux', 'tcp', echoMetric(size)));
  return summarise(batches, ratios, labels);
}

function softwareSummary(): Summary {
  const lookups = (['one core', 'a core each'] as const).flatMap((placement) =>
    ['unix/c', 'unix', 'tcp/c', 'tcp'].flatMap((arm, index) =>
      syntheticBatches(arm, placedMetric(lookupMetric, placement), 9000 + 4000 * index),
    ),
  );
  const ratios = (['one core', 'a core each'] as const).flatMap((placement) =>
    ['unix/c', 'tcp/c'].map((limit) => ratio('unix', limit, placedMetric(lookupMetric, placement))),
  );
  const limits = summarise(lookups, ratios, labels);
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
    ['encode call', 'decode reply'].map((metric) => ratio('fixed-shape', 'cbor-x', metric)),
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
    words: [
      'Forwarding adds 246 µs to PROG_LOAD by vhost-device-vsock and 123 µs by TCP',
      ...['native', 'median of 200 in 2 boots', '396 µs to PROG_LOAD', 'lower is better'],
    ],
  },
  {
    figure: rttFigure(rttSummary(), syntheticEnvironment, {
      ...{ payloadBytes, file: 'rtt', where: '' },
    }),
    words: [
      'vhost-device-vsock takes 0.80 × (0.80–0.80) TCP’s round trip of 64 B',
      ...['64 KiB', 'vhost-device-vsock, plain C', 'log scale', lookupMetric],
    ],
  },
  {
    figure: softwareOverheadFigure(softwareSummary(), {
      ...syntheticEnvironment,
      parameters: { serverCpu: 7, otherCpu: 6 },
    }),
    words: [
      'a small call takes 1.44 × plain C’s time on one core',
      ...['plain C', 'both on one core', 'a core each', 'thesis 396 µs'],
      'servers on CPU 7, clients on CPU 6',
    ],
  },
  {
    figure: codecFigure(codecSummary(), syntheticEnvironment),
    words: ['fixed shape', 'cbor-x', '11.0 M/s', 'higher is better'],
  },
  {
    figure: mapOpsFigure(
      sweepSummary(mapMetrics, guestArms),
      syntheticEnvironment,
      10_000,
      200,
      [1000, 10_000],
    ),
    words: [
      '10,000 entries, 10,000 at a time, take 3.00 × (3.00–3.00) native',
      ...['10,000 entries, 1,000 at a time (native 250 µs)', '200 entries, 1 at a time'],
    ],
  },
  {
    figure: progSizeFigure(
      sweepSummary(loads.map(loadMetric), guestArms),
      syntheticEnvironment,
      loads,
    ),
    words: ['a load of 2 instructions takes 3.00 × (3.00–3.00) native', '1 M', 'TCP'],
  },
  {
    figure: crowdFigure(sweepSummary(crowd('depth'), transports), syntheticEnvironment, {
      ...{ name: 'pipelining', noun: 'depth', counted: 'look-ups in flight', levels },
    }),
    words: ['64 look-ups in flight: 501 µs by vhost-device-vsock, 250 µs by TCP', 'log scale'],
  },
];

for (const { figure, words } of figures) {
  t.test(`the ${figure.file} chart`, async (t) => {
    const { svg, title } = figure;
    const lines = [...svg.matchAll(/>([^<>\n]+)<\/text>/g)].map(([, line]) => line);
    // Long texts are broken into lines.
    const shown = lines.join(' ');
    for (const word of [title, ...words, 'EMULATED guest (TCG)', 'run 2020-01-01T000000']) {
      t.ok(shown.includes(word), `says "${word}" in ${title}`);
    }
    t.match(svg, /<rect width="830" height="\d+" fill="#ffffff"/, 'is opaque');
    t.notMatch(svg, /NaN|undefined|Infinity|QUICK/, 'has no holes');
  });
}

const [thesisExample] = figures;

t.test('a chart of an arm that was not measured leaves it out', async (t) => {
  const { svg } = thesisFigure(commandSummary('tcp'), syntheticEnvironment);
  t.notOk(svg.includes('>vhost-device-vsock<'));
});

t.test('a chart of a quick run says so, and one of a single round has no whiskers', async (t) => {
  const quick = { ...syntheticEnvironment, quick: true };
  const { svg, title } = thesisFigure(commandSummary('tcp'), quick);
  t.match(svg, /fill="#b3261e"[^>]*>QUICK RUN/);
  t.equal(title, syntheticEnvironment.title, 'what was not measured is no answer');
  t.notMatch(thesisExample?.figure.svg, 'QUICK');
  const batches = syntheticBatches('tcp', echoMetric(64), 9, { boots: 1, rounds: 1 });
  const { rows } = summarise(batches, [], labels);
  t.equal(whiskers(rows), 'one round, so no whiskers');
});

t.test('ticks are round numbers within the axis', async (t) => {
  t.same(evenTicks(0, 2900), [0, 500, 1000, 1500, 2000, 2500]);
  t.same(evenTicks(-130, 1000), [0, 200, 400, 600, 800, 1000]);
  t.same(evenTicks(0, 50), [0, 10, 20, 30, 40, 50]);
  t.same(logarithmicTicks(230, 3900), [500, 1000, 2000]);
});

t.test('numbers are printed for people', async (t) => {
  t.same([8312, 84_600, 396_000, 11_234_567, -2000].map(micros), [
    ...['8.31', '84.6', '396', '11,235', '−2.00'],
  ]);
  t.same([64, 1024, 65_536, 1536].map(bytes), ['64 B', '1 KiB', '64 KiB', '1.5 KiB']);
  t.same([950, 81_200, 11_600_000].map(rate), ['950 /s', '81.2 k/s', '11.6 M/s']);
  t.same([8312, 2_037_654_537].map(duration), ['8.31 µs', '2.04 s']);
  t.same([0, 2e6, 2.5e6, 2e7, 2e8].map(tick(duration)), ['0', '2 ms', '2.5 ms', '20 ms', '200 ms']);
});
