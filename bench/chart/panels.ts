import type { TopLevelSpec } from 'vega-lite';
import { inks, theme } from './theme.js';
import { evenTicks, logarithmicTicks } from './ticks.js';

/** A bar with the confidence interval of its value. */
export interface Bar {
  label: string;
  value: number;
  /** The bounds of the whisker; absent where the value is quoted from elsewhere. */
  low?: number;
  high?: number;
  /** What is printed over the bar. */
  text: string;
  colour: string;
  /** `solid` for our own, `limit` for the plain C limit, `quoted` for somebody else's figure. */
  style: 'solid' | 'limit' | 'quoted';
}

/** A point of a line. */
export interface Point {
  x: number;
  value: number;
  low: number;
  high: number;
  /** What the line is called in the legend. */
  line: string;
}

/** How a line of a {@link linePanel} looks. */
export interface LineStyle {
  name: string;
  colour: string;
  dashed: boolean;
}

/** A part of a chart. */
export type Panel = Extract<TopLevelSpec, { hconcat: unknown }>['hconcat'][number];

const fills = { solid: 0.92, limit: 0.25, quoted: 0 } as const;
const dashes = { solid: [1, 0], limit: [1, 0], quoted: [4, 3] } as const;

/** Bars side by side, with whiskers and their values printed. */
export function barPanel(options: {
  title: string;
  subtitle?: string;
  yTitle: string;
  /** How d3-format prints the numbers of the y axis; by default in full. */
  yFormat?: string;
  bars: readonly Bar[];
  width: number;
  height: number;
  /** Horizontal lines across the panel. */
  marks?: ReadonlyArray<{ value: number; text: string }>;
}): Panel {
  const values = options.bars.map((bar) => ({
    label: bar.label,
    value: bar.value,
    low: bar.low ?? bar.value,
    high: bar.high ?? bar.value,
    whisker: bar.low !== undefined,
    top: Math.max(bar.value, bar.high ?? bar.value, 0),
    text: bar.text,
    colour: bar.colour,
    fill: fills[bar.style],
    dash: dashes[bar.style],
  }));
  const x = {
    field: 'label',
    type: 'nominal',
    sort: null,
    axis: { title: null, labelAngle: 0, labelLimit: 150, labelExpr: "split(datum.label, '\\n')" },
  } as const;
  const tops = [
    ...values.map((bar) => bar.top),
    ...(options.marks ?? []).map((mark) => mark.value),
  ];
  const bottoms = values.map((bar) => Math.min(bar.low, 0));
  const domain = [Math.min(...bottoms), Math.max(...tops) * 1.12] as const;
  const y = {
    type: 'quantitative',
    title: options.yTitle,
    axis: { values: evenTicks(...domain), format: options.yFormat ?? ',~f', minExtent: 50 },
    scale: { domain, nice: false },
  } as const;
  return {
    title: panelTitle(options.title, options.subtitle),
    width: options.width,
    height: options.height,
    data: { values },
    layer: [
      {
        mark: { type: 'bar', width: { band: 0.62 }, strokeWidth: 1.4 },
        encoding: {
          x,
          y: { ...y, field: 'value' },
          fill: { field: 'colour', type: 'nominal', scale: null, legend: null },
          stroke: { field: 'colour', type: 'nominal', scale: null, legend: null },
          fillOpacity: { field: 'fill', type: 'quantitative', scale: null, legend: null },
          strokeDash: { field: 'dash', type: 'nominal', scale: null, legend: null },
        },
      },
      {
        transform: [{ filter: 'datum.whisker' }],
        mark: { type: 'errorbar', ticks: { size: 9, color: inks.ink }, rule: { color: inks.ink } },
        encoding: {
          x,
          y: { field: 'low', type: 'quantitative', title: options.yTitle },
          y2: { field: 'high' },
        },
      },
      {
        mark: { type: 'text', dy: -9, fontSize: 12, fontWeight: 600, color: inks.ink },
        encoding: { x, y: { ...y, field: 'top' }, text: { field: 'text', type: 'nominal' } },
      },
      ...(options.marks ?? []).flatMap((mark) => [
        {
          data: { values: [mark] },
          mark: { type: 'rule' as const, strokeDash: [5, 4], color: inks.reference },
          encoding: { y: { field: 'value', type: 'quantitative' as const } },
        },
        {
          data: { values: [mark] },
          mark: {
            type: 'text' as const,
            align: 'right' as const,
            dy: -6,
            x: 'width' as const,
            fontSize: 11,
            color: inks.reference,
          },
          encoding: {
            y: { field: 'value', type: 'quantitative' as const },
            text: { field: 'text', type: 'nominal' as const },
          },
        },
      ]),
    ],
  } as Panel;
}

/** Lines over a logarithmic axis of sizes, with the whiskers of each point. */
export function linePanel(options: {
  title: string;
  subtitle?: string;
  xTitle: string;
  yTitle: string;
  yDomain: readonly [low: number, high: number];
  points: readonly Point[];
  lines: readonly LineStyle[];
  /** The values on the x axis and how they are printed. */
  ticks: ReadonlyArray<{ value: number; text: string }>;
  width: number;
  height: number;
  legend: boolean;
}): Panel {
  const names = options.lines.map((line) => line.name);
  const legend = options.legend
    ? {
        title: null,
        orient: 'bottom',
        columns: 2,
        symbolType: 'stroke',
        symbolSize: 700,
        symbolStrokeWidth: 2.2,
        labelLimit: 400,
      }
    : null;
  const colour = {
    field: 'line',
    type: 'nominal',
    scale: { domain: names, range: options.lines.map((line) => line.colour) },
    legend,
  };
  const x = {
    field: 'x',
    type: 'quantitative',
    title: options.xTitle,
    scale: { type: 'log', base: 2, nice: false, padding: 12 },
    axis: {
      values: options.ticks.map((tick) => tick.value),
      labelExpr: `${JSON.stringify(Object.fromEntries(options.ticks.map((tick) => [tick.value, tick.text])))}[datum.value]`,
    },
  };
  const y = {
    type: 'quantitative',
    title: options.yTitle,
    scale: { type: 'log', domain: options.yDomain, nice: false },
    axis: { values: logarithmicTicks(...options.yDomain), format: ',~r', minExtent: 50 },
  };
  const dash = {
    field: 'line',
    type: 'nominal',
    scale: {
      domain: names,
      range: options.lines.map((line) => (line.dashed ? [6, 4] : [1, 0])),
    },
    legend,
  };
  return {
    title: panelTitle(options.title, options.subtitle),
    width: options.width,
    height: options.height,
    data: { values: options.points },
    layer: [
      {
        mark: { type: 'line', strokeWidth: 2.2 },
        encoding: { x, y: { ...y, field: 'value' }, color: colour, strokeDash: dash },
      },
      {
        mark: { type: 'rule', strokeWidth: 1.2 },
        encoding: { x, y: { ...y, field: 'low' }, y2: { field: 'high' }, color: colour },
      },
      {
        mark: { type: 'point', filled: true, size: 42, opacity: 1 },
        encoding: { x, y: { ...y, field: 'value' }, color: colour },
      },
    ],
  } as unknown as Panel;
}

/** Panels in rows beneath one title, with what the reader must know printed on the chart. */
export function sheet(options: {
  title: string;
  lines: readonly string[];
  rows: ReadonlyArray<readonly Panel[]>;
}): TopLevelSpec {
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    config: theme,
    title: { text: options.title, subtitle: [...options.lines] },
    spacing: 30,
    // Panels of a row align by their plots, not by the estimated widths of their labels: the
    // spacing leaves room for the axis in between.
    vconcat: options.rows.map((panels) => ({
      hconcat: [...panels],
      bounds: 'flush',
      spacing: 84,
      resolve: { scale: { color: 'independent', strokeDash: 'independent' } },
    })),
  } as TopLevelSpec;
}

function panelTitle(text: string, subtitle: string | undefined) {
  return {
    text,
    ...(subtitle === undefined ? {} : { subtitle: subtitle.split('\n') }),
    fontSize: 13,
    subtitleFontSize: 11,
    subtitlePadding: 3,
    offset: 12,
    anchor: 'start' as const,
  };
}

/** Two of them to a row. */
export function pairs<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / 2) }, (_, i) => all.slice(2 * i, 2 * i + 2));
}
