/* What the charts of experiments have in common. */
import { type Environment, environmentLines } from '../environment.js';
import { findCompared, findRow } from '../summary.js';
import type { Compared, Row as Measured, Summary } from '../types.js';
import type { Figure } from './figure.js';
import { count, factor, labels, ratioText, whiskers } from './format.js';
import { type Line, type Panel, type Point, page, type Row } from './panels.js';
import { armName, colourOf, inOrder, isPlainC } from './theme.js';

const accelerators = {
  tcg: 'EMULATED guest (TCG)',
  kvm: 'guest under KVM',
  'kvm-software': 'guest under KVM in SOFTWARE',
  nested: 'NESTED EMULATION: a guest in a guest',
  none: 'no guest',
} as const;

/** The chart of an experiment: the answer, how sure it is, the panels, and where all is from. */
export function sheet(options: {
  file: string;
  title: string;
  /** What it corresponds to in the thesis. Default: nothing. */
  origin?: string;
  /** How it relates to that. Default: new. */
  status?: string;
  environment: Environment;
  better: 'lower' | 'higher';
  /** What is drawn, to say how many samples it is made of. */
  drawn: ReadonlyArray<Measured | Compared>;
  logarithmic?: boolean;
  rows: ReadonlyArray<readonly Panel[]>;
  /** What else the reader may want to know. */
  notes?: readonly string[];
}): Figure {
  const { file, title, environment, drawn, better } = options;
  const { origin = 'beyond the thesis', status = 'new' } = options;
  const { accel, amount, quick, source } = environment;
  const numbers = drawn.map((one) => ('rounds' in one ? one.rounds : one.n));
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  const unit = most === 1 ? ' round' : ' rounds';
  const what = drawn.some((one) => 'rounds' in one) ? unit : '';
  const apart = drawn.filter((one) => 'boots' in one).length;
  const starts = accel === 'none' ? 'start' : 'boot';
  const svg = page({
    title,
    ...(quick ? { warning: 'QUICK RUN: less than a full run of a committed tree' } : {}),
    facts: [
      accelerators[environment.guest?.outer === undefined ? accel : 'nested'],
      `${better} is better`,
      `median of ${least === most ? '' : `${count(least)} to `}${count(most)}${what} in ${amount.boots} ${starts}${amount.boots === 1 ? '' : 's'}`,
      whiskers(drawn),
      ...(options.logarithmic === true ? ['log scale'] : []),
    ].join(' · '),
    rows: options.rows,
    footer: [
      ...(options.notes ?? []),
      ...(apart === 0
        ? []
        : [`In ${apart} of ${drawn.length} medians one boot lies apart from the others.`]),
      ...environmentLines(environment),
      `Commit ${source.commit}${source.dirty ? ', with changes that were not committed' : ''}`,
    ],
  });
  return { file, title, origin, status, svg };
}

/** The rows of a metric, in the order of the arms. */
export function rowsOf({ rows }: Summary, metric: string): Measured[] {
  return inOrder(rows.filter((row) => row.metric === metric));
}

/** The median of a row. */
export function bar(row: Measured): Row {
  return {
    // Beneath the arm whose limit it is.
    label: isPlainC(row.arm) ? '\u2003plain C' : armName(row.arm),
    value: row.p50,
    low: row.ciLow,
    high: row.ciHigh,
    text: labels[row.unit](row.p50),
    colour: colourOf(row.arm),
    pale: isPlainC(row.arm),
  };
}

/** A comparison, and what else is to be printed behind it. */
export function point(one: Compared, ...more: readonly string[]): Row {
  return {
    label: armName(one.arm),
    value: one.value,
    low: one.ciLow,
    high: one.ciHigh,
    text: [one.kind === 'ratio' ? `${ratioText(one.value)} ×` : labels.ns(one.value), ...more].join(
      ', ',
    ),
    colour: colourOf(one.arm),
    ...(one.bound === undefined ? {} : { bound: one.bound }),
  };
}

/** A line for each arm, over what a metric is measured at. */
export function linesOver(
  arms: readonly string[],
  xs: readonly number[],
  pointAt: (arm: string, x: number) => (Omit<Point, 'x'> & Partial<Point>) | undefined,
): Line[] {
  return inOrder([...new Set(arms)].map((arm) => ({ arm }))).flatMap(({ arm }) => {
    const points = xs.flatMap((x) => {
      const found = pointAt(arm, x);
      return found === undefined ? [] : [{ x, ...found }];
    });
    const style = { name: armName(arm), colour: colourOf(arm), dashed: isPlainC(arm) };
    return points.length === 0 ? [] : [{ ...style, points }];
  });
}

/** The medians of all arms, over what a metric is measured at. */
export function medianLines(
  summary: Summary,
  xs: readonly number[],
  metricAt: (x: number) => string,
): Line[] {
  const arms = summary.rows.map(({ arm }) => arm);
  return linesOver(arms, xs, (arm, x) => {
    const row = findRow(summary, arm, metricAt(x));
    return row && { value: row.p50, low: row.ciLow, high: row.ciHigh };
  });
}

/** The vsock arm that a chart is about: the fastest road that this machine has. */
export function vsockOf({ rows }: Summary): string {
  const arms = ['vsock-device', 'vsock-kernel', 'vsock-mux'];
  return arms.find((arm) => rows.some((row) => row.arm === arm)) ?? 'vsock-device';
}

/** A ratio with its interval, for a title. It is undefined where it was not measured. */
export function times(...what: Parameters<typeof findCompared>): string | undefined {
  const found = findCompared(...what);
  return found && factor(found);
}

/** The ratio alone, for a title of several. */
export function plainTimes(...what: Parameters<typeof findCompared>): string | undefined {
  const found = findCompared(...what);
  return found && `${ratioText(found.value)} ×`;
}

/** Makes a sentence with figures, or `otherwise` where a figure is missing. */
export function answer(otherwise: string) {
  return (
    [first = '', ...others]: TemplateStringsArray,
    ...figures: ReadonlyArray<string | undefined>
  ): string =>
    figures.includes(undefined)
      ? otherwise
      : first + others.map((text, i) => `${figures[i]}${text}`).join('');
}
