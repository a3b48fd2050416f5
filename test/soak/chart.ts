/* The chart of a soak: what each process holds over time, beside what was done. */
import type { TopLevelSpec } from 'vega-lite';
import { type Panel, sheet } from '../../bench/chart/panels.js';
import { neededBytes } from './readings.js';
import type { Sample } from './samples.js';

const MIB = 1024 * 1024;
const colours = {
  host: '#0072b2',
  standby: '#e69f00',
  agent: '#009e73',
  guest: '#7a7a7a',
} as const;

/** The name of a line, and its value in a sample. */
type Line = readonly [name: string, colour: string, value: (sample: Sample) => number];

const lines = (what: 'needed' | 'rss'): readonly Line[] =>
  (['host', 'standby', 'agent'] as const).map((who) => [
    who,
    colours[who],
    (sample) => (what === 'rss' ? sample[who].rss : neededBytes(sample[who])) / MIB,
  ]);

function panel(options: {
  title: string;
  subtitle: string;
  yTitle: string;
  samples: readonly Sample[];
  lines: readonly Line[];
}): Panel {
  const { samples } = options;
  const values = options.lines.flatMap(([line, , value]) =>
    samples.map((sample) => ({ minutes: sample.seconds / 60, value: value(sample), line })),
  );
  return {
    title: { text: options.title, subtitle: options.subtitle, anchor: 'start', fontSize: 13 },
    width: 400,
    height: 210,
    data: { values },
    mark: { type: 'line', strokeWidth: 1.8 },
    encoding: {
      x: { field: 'minutes', type: 'quantitative', title: 'minutes' },
      y: {
        field: 'value',
        type: 'quantitative',
        title: options.yTitle,
        scale: { zero: true },
        axis: { format: ',~r', minExtent: 50 },
      },
      color: {
        field: 'line',
        type: 'nominal',
        title: null,
        scale: {
          domain: options.lines.map(([name]) => name),
          range: options.lines.map(([, colour]) => colour),
        },
        legend: { orient: 'bottom', symbolType: 'stroke', symbolSize: 500, symbolStrokeWidth: 2 },
      },
    },
  } as unknown as Panel;
}

/** Draws the samples of a run. */
export function soakChart(samples: readonly Sample[], facts: readonly string[]): TopLevelSpec {
  const last = samples.at(-1)?.counts;
  const count = (number = 0) => number.toLocaleString('en');
  return sheet({
    title: 'A soak: events, sessions, connections and tools at once',
    lines: [
      ...facts,
      `Done: ${count(last?.recordsDelivered)} records, ${count(last?.sessions)} sessions, ${count(last?.connections)} further connections, ${count(last?.tools)} tools; ${count(last?.failures)} failures`,
    ],
    rows: [
      [
        panel({
          title: 'Memory that is needed',
          subtitle: 'resident, without the free room of the JavaScript heap, after a collection',
          yTitle: 'MiB',
          samples,
          lines: lines('needed'),
        }),
        panel({
          title: 'Resident memory',
          subtitle: 'after a collection; the engine keeps room for later',
          yTitle: 'MiB',
          samples,
          lines: lines('rss'),
        }),
      ],
      [
        panel({
          title: 'Objects of JavaScript',
          subtitle: 'after a collection',
          yTitle: 'MiB',
          samples,
          lines: (['host', 'standby', 'agent'] as const).map((who) => [
            who,
            colours[who],
            (sample) => (sample[who].heapUsed + sample[who].external) / MIB,
          ]),
        }),
        panel({
          title: 'Descriptors',
          subtitle: 'of each process',
          yTitle: 'descriptors',
          samples,
          lines: (['host', 'standby', 'agent'] as const).map((who) => [
            who,
            colours[who],
            (sample) => sample[who].descriptors,
          ]),
        }),
      ],
      [
        panel({
          title: 'The guest',
          subtitle: 'memory of its kernel (slab) and of all session executors',
          yTitle: 'MiB',
          samples,
          lines: [
            ['slab', colours.guest, ({ guest }) => guest.slabKib / 1024],
            ['executors', colours.agent, ({ guest }) => guest.executorsKib / 1024],
          ],
        }),
        panel({
          title: 'Native processes of the agent',
          subtitle: 'memory that they have written to; the executor of the events',
          yTitle: 'KiB',
          samples,
          lines: [
            ['keeper', colours.host, ({ guest }) => guest.keeperKib],
            ['executor', colours.agent, ({ guest }) => guest.oldestExecutorKib],
          ],
        }),
      ],
      [
        panel({
          title: 'Done so far',
          subtitle: 'sessions, connections beside them, and tools',
          yTitle: 'count',
          samples,
          lines: [
            ['sessions', colours.host, ({ counts }) => counts.sessions],
            ['connections', colours.agent, ({ counts }) => counts.connections],
            ['tools', colours.standby, ({ counts }) => counts.tools],
          ],
        }),
      ],
    ],
  });
}
