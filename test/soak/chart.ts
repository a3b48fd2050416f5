/* The chart of a soak: what each process holds over time, beside what was done. */
import { significant } from '../../bench/chart/format.js';
import { half, linePanel, type Panel, page } from '../../bench/chart/panels.js';
import { evenTicks } from '../../bench/chart/ticks.js';
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
  samples: readonly Sample[];
  lines: readonly Line[];
}): Panel {
  const minutes = options.samples.map(({ seconds }) => seconds / 60);
  return linePanel({
    title: options.title,
    subtitle: options.subtitle,
    lines: options.lines.map(([name, colour, value]) => ({
      name,
      colour,
      points: options.samples.map((sample) => ({ x: sample.seconds / 60, value: value(sample) })),
    })),
    width: half,
    height: 230,
    ticks: evenTicks(0, Math.max(...minutes)).map((value) => ({ value, text: String(value) })),
    xTitle: 'minutes',
    print: significant,
    dots: false,
  });
}

/** Draws the samples of a run. */
export function soakChart(samples: readonly Sample[], facts: readonly string[]): string {
  const [first, last] = [samples[0], samples.at(-1)];
  const done = last?.counts;
  const count = (number = 0) => number.toLocaleString('en');
  const mib = (sample: Sample | undefined) =>
    sample === undefined ? '–' : significant(neededBytes(sample.host) / MIB);
  return page({
    title: `In ${count(Math.round((last?.seconds ?? 0) / 60))} minutes of everything at once ${count(done?.failures)} failures; the host’s process needs ${mib(first)} MiB at first and ${mib(last)} MiB at the end`,
    facts: 'events, sessions, connections and tools at the same time · lower is better',
    footer: [
      `Done: ${count(done?.recordsDelivered)} records, ${count(done?.sessions)} sessions, ${count(done?.connections)} further connections, ${count(done?.tools)} tools`,
      ...facts,
    ],
    rows: [
      [
        panel({
          title: 'Memory that is needed, MiB',
          subtitle: 'resident, without the free room of the JavaScript heap, after a collection',
          samples,
          lines: lines('needed'),
        }),
        panel({
          title: 'Resident memory, MiB',
          subtitle: 'after a collection; the engine keeps room for later',
          samples,
          lines: lines('rss'),
        }),
      ],
      [
        panel({
          title: 'Objects of JavaScript, MiB',
          subtitle: 'after a collection',
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
          title: 'The guest, MiB',
          subtitle: 'memory of its kernel (slab) and of all session executors',
          samples,
          lines: [
            ['slab', colours.guest, ({ guest }) => guest.slabKib / 1024],
            ['executors', colours.agent, ({ guest }) => guest.executorsKib / 1024],
          ],
        }),
        panel({
          title: 'Native processes of the agent, KiB',
          subtitle: 'memory that they have written to; the executor of the events',
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
