import { duration, tick } from './format.js';
import { inks, line, round, text, whisker, widthOf, wrapped } from './svg.js';
import { evenTicks, logarithmicTicks } from './ticks.js';

/** A part of a chart. */
export interface Panel {
  width: number;
  height: number;
  /** Draws it with its upper left corner at the origin. */
  draw(): string;
}

/** How wide charts are: as wide as a README shows them, so that sizes of text are what one sees. */
const sheetWidth = 830;
const margin = 16;
const gap = 34;
/** The whole width between the margins, and half of it beside another panel. */
export const whole = sheetWidth - 2 * margin;
export const half = (whole - gap) / 2;

/** How much wider bold text is than {@link widthOf} expects. */
const boldWidth = 1.04;

/** The smallest text of a chart. */
const small = 11;

/** A bar, or a point on a logarithmic axis. */
export interface Row {
  label: string;
  value: number;
  /** The ends of the whisker; absent where there is no interval. */
  low?: number;
  high?: number;
  /** What is printed behind it. */
  text: string;
  colour: string;
  /** Drawn pale, because it is not what the chart is about. */
  pale?: boolean;
  /** The most that the value should be; a red stroke. */
  bound?: number;
}

/** Rows that belong together, beneath a heading. */
export interface Group {
  name?: string;
  rows: readonly Row[];
}

/** A place on an axis that values are compared with. */
export interface Mark {
  value: number;
  text: string;
}

interface Scale {
  place(value: number): number;
  ticks: number[];
}

function scaleOf(
  logarithmic: boolean,
  [low, high]: readonly [number, number],
  length: number,
  most?: number,
): Scale {
  const map = logarithmic ? Math.log : (value: number) => value;
  const [from, to] = [map(low), map(high)];
  return {
    place: (value) => ((map(value) - from) / (to - from)) * length,
    ticks: logarithmic ? logarithmicTicks(low, high) : evenTicks(low, high, most),
  };
}

const heading = (title: string, subtitle: readonly string[]) => ({
  height: 20 + 15 * subtitle.length,
  svg: [
    text(0, 14, title, { size: 13, bold: true }),
    ...subtitle.map((each, i) => text(0, 30 + 15 * i, each, { size: small, colour: inks.faint })),
  ],
});

const rowHeight = 17;

/** Values below each other, as bars from zero, or as points on a logarithmic axis. */
export function rowPanel(options: {
  title: string;
  subtitle?: string;
  groups: readonly Group[];
  width: number;
  logarithmic?: boolean;
  /** How the numbers of the axis are printed. Default: as durations. */
  print?: (value: number) => string;
  mark?: Mark;
  /** The ends of the axis, where it is not what its values need. */
  domain?: readonly [low: number, high: number];
}): Panel {
  const { title, subtitle, groups, width, logarithmic = false, mark } = options;
  const print = tick(options.print ?? duration);
  const head = heading(title, subtitle === undefined ? [] : wrapped(subtitle, width, small));
  const rows = groups.flatMap((group) => group.rows);
  const left = Math.max(...rows.map((row) => widthOf(row.label))) + 8;
  const right = Math.max(...rows.map((row) => widthOf(row.text))) + 8;
  const top = head.height + (mark === undefined ? 4 : 18);
  const plotHeight = groups.reduce(
    (sum, { name, rows }) => sum + rowHeight * (rows.length + (name === undefined ? 0 : 1)) + 4,
    0,
  );
  const domain = options.domain ?? domainOf(rows, logarithmic, mark);
  const plotWidth = width - left - right;
  const { place, ticks } = scaleOf(logarithmic, domain, plotWidth, plotWidth / 60);
  const x = (value: number) => left + place(value);
  return {
    width,
    height: top + plotHeight + 18,
    draw() {
      const parts = [...head.svg];
      let labelled = Number.NEGATIVE_INFINITY;
      for (const value of ticks) {
        const at = x(value);
        parts.push(line([at, top], [at, top + plotHeight], { colour: inks.grid }));
        const label = print(value);
        if (at - widthOf(label, small) / 2 < labelled + 6) continue;
        labelled = at + widthOf(label, small) / 2;
        parts.push(text(at, top + plotHeight + 14, label, { size: small, anchor: 'middle' }));
      }
      if (mark !== undefined) {
        const at = x(mark.value);
        parts.push(
          line([at, top], [at, top + plotHeight], { colour: inks.ink, dash: '5 4' }),
          text(at, top - 5, mark.text, { size: small, anchor: 'middle' }),
        );
      }
      let y = top;
      for (const { name, rows } of groups) {
        if (name !== undefined) {
          y += rowHeight;
          parts.push(text(0, y - 5, name, { bold: true, halo: true }));
        }
        for (const row of rows) {
          parts.push(drawRow(row, x, y, logarithmic ? undefined : x(0)));
          y += rowHeight;
        }
        y += 4;
      }
      return parts.join('\n');
    },
  };
}

/** @param zero where bars begin; without it there is a point */
function drawRow(
  { label, value, low = value, high = value, colour, pale = false, bound, ...row }: Row,
  x: (value: number) => number,
  y: number,
  zero: number | undefined,
): string {
  const middle = y + rowHeight / 2;
  const at = x(value);
  const fill = `fill="${colour}"${pale ? ' fill-opacity="0.3"' : ''} stroke="${colour}"`;
  return [
    text(0, middle + 4, label),
    zero === undefined
      ? `<circle cx="${round(at)}" cy="${middle}" r="4.5" ${fill}/>`
      : `<rect x="${round(Math.min(zero, at))}" y="${y + 3}" width="${round(Math.abs(at - zero))}" height="${rowHeight - 6}" ${fill}/>`,
    ...(low === high ? [] : [whisker([x(low), middle], [x(high), middle])]),
    ...(bound === undefined
      ? []
      : [line([x(bound), y], [x(bound), y + rowHeight], { colour: inks.reference, width: 2 })]),
    text(x(Math.max(high, bound ?? high)) + 7, middle + 4, row.text, { halo: true }),
  ].join('');
}

function domainOf(
  values: ReadonlyArray<{ value: number; low?: number; high?: number; bound?: number }>,
  logarithmic: boolean,
  mark?: Mark,
): readonly [number, number] {
  const shown = values.flatMap(({ value, low, high, bound }) => [value, low, high, bound]);
  const numbers = [...shown, mark?.value].filter((one) => one !== undefined);
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  return logarithmic ? [low * 0.92, high * 1.08] : [Math.min(low, 0), high];
}

/** A point of a line. */
export interface Point {
  x: number;
  value: number;
  low?: number;
  high?: number;
}

/** A line with its name at its end. */
export interface Line {
  name: string;
  colour: string;
  dashed?: boolean;
  points: readonly Point[];
}

/** Lines with the whiskers of their points. */
export function linePanel(options: {
  title: string;
  subtitle?: string;
  lines: readonly Line[];
  width: number;
  height: number;
  /** The values on the x axis and how they are printed, in a line or more. */
  ticks: ReadonlyArray<{ value: number; text: string }>;
  xTitle: string;
  xLogarithmic?: boolean;
  /** The y axis: from zero, unless it is logarithmic. */
  logarithmic?: boolean;
  print?: (value: number) => string;
  mark?: Mark;
  /** Whether its points are drawn. */
  dots?: boolean;
}): Panel {
  const { lines, mark, logarithmic = false, dots = true } = options;
  const print = tick(options.print ?? duration);
  const subtitle = options.subtitle === undefined ? [] : [options.subtitle];
  const head = heading(options.title, subtitle);
  const top = head.height + 8;
  const below = 15 * Math.max(...options.ticks.map((one) => one.text.split('\n').length)) + 18;
  const points = lines.flatMap((one) => one.points);
  const xs = [...points.map((one) => one.x), ...options.ticks.map((one) => one.value)];
  const plotHeight = options.height - top - below;
  const yScale = scaleOf(logarithmic, domainOf(points, logarithmic, mark), plotHeight);
  const left = Math.max(...yScale.ticks.map((value) => widthOf(print(value), small))) + 8;
  const right = Math.max(...lines.map((one) => widthOf(one.name))) + 26;
  const plotWidth = options.width - left - right;
  const xDomain = [Math.min(...xs), Math.max(...xs)] as const;
  const xScale = scaleOf(options.xLogarithmic ?? false, xDomain, plotWidth);
  const x = (value: number) => left + xScale.place(value);
  const y = (value: number) => top + plotHeight - yScale.place(value);
  return {
    width: options.width,
    height: options.height,
    draw() {
      const parts = [...head.svg];
      for (const value of yScale.ticks) {
        const at = y(value);
        parts.push(
          line([left, at], [left + plotWidth, at], { colour: inks.grid }),
          text(left - 8, at + 4, print(value), { size: small, anchor: 'end' }),
        );
      }
      for (const { value, text: label } of options.ticks) {
        for (const [i, each] of label.split('\n').entries()) {
          const at = top + plotHeight + 16 + 15 * i;
          parts.push(text(x(value), at, each, { size: small, anchor: 'middle' }));
        }
      }
      parts.push(
        text(left + plotWidth / 2, options.height - 3, options.xTitle, {
          size: small,
          colour: inks.faint,
          anchor: 'middle',
        }),
      );
      if (mark !== undefined) {
        const at = y(mark.value);
        parts.push(
          line([left, at], [left + plotWidth, at], { colour: inks.ink, dash: '5 4' }),
          text(left + 6, at - 5, mark.text, { size: small }),
        );
      }
      for (const { points, colour, dashed = false } of lines) {
        const path = points.map(({ x: at, value }) => `${round(x(at))} ${round(y(value))}`);
        const dash = dashed ? ' stroke-dasharray="6 4"' : '';
        parts.push(
          `<path d="M${path.join('L')}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`,
        );
        for (const { x: at, value, low = value, high = value } of dots ? points : []) {
          if (low !== high) {
            const ends = [low, high].map((end) => [x(at), y(end)] as const);
            const style = { colour, width: 1.2 };
            parts.push(line(ends[0] as [number, number], ends[1] as [number, number], style));
          }
          parts.push(
            `<circle cx="${round(x(at))}" cy="${round(y(value))}" r="3" fill="${colour}"/>`,
          );
        }
      }
      parts.push(...namesAtEnds(lines, x, y, left + plotWidth));
      return parts.join('\n');
    },
  };
}

/** The lines' names beside their last points, far enough from each other to be read. */
function namesAtEnds(
  lines: readonly Line[],
  x: (value: number) => number,
  y: (value: number) => number,
  end: number,
): string[] {
  const ends = lines
    .flatMap(({ name, colour, points }) => {
      const last = points.at(-1);
      return last === undefined ? [] : [{ name, colour, x: x(last.x), y: y(last.value) }];
    })
    .sort((a, b) => a.y - b.y);
  const apart = 15;
  const places = ends.map(({ y }) => y);
  // Each moves down from the one above, then all of them up again by half of what that took.
  for (let i = 1; i < places.length; i++) {
    places[i] = Math.max(places[i] ?? 0, (places[i - 1] ?? 0) + apart);
  }
  const shift = Math.max(0, (places.at(-1) ?? 0) - (ends.at(-1)?.y ?? 0)) / 2;
  return ends.flatMap(({ name, colour, x, y }, i) => {
    const at = (places[i] ?? y) - shift;
    return [line([x + 5, y], [end + 16, at], { colour }), text(end + 20, at + 4, name)];
  });
}

/** Cells of text in columns; the first column is to the left, the others to the right. */
export function textTable(options: {
  title: string;
  subtitle?: string;
  rows: ReadonlyArray<readonly string[]>;
  width: number;
}): Panel {
  const head = heading(options.title, options.subtitle === undefined ? [] : [options.subtitle]);
  const columns = Math.max(...options.rows.map((row) => row.length));
  const first = Math.max(...options.rows.map(([name = '']) => widthOf(name)));
  const each = (options.width - first) / (columns - 1);
  return {
    width: options.width,
    height: head.height + rowHeight * options.rows.length + 6,
    draw: () =>
      [
        ...head.svg,
        ...options.rows.flatMap((row, i) =>
          row.map((cell, column) =>
            text(
              column === 0 ? 0 : first + column * each,
              head.height + rowHeight * (i + 1) - 4,
              cell,
              { anchor: column === 0 ? 'start' : 'end', size: i === 0 ? small : 12 },
            ),
          ),
        ),
      ].join('\n'),
  };
}

/** Panels in rows, beneath what the reader must know first and above the rest. */
export function page(options: {
  title: string;
  /** In red, before everything else. */
  warning?: string;
  /** The second line. */
  facts: string;
  rows: ReadonlyArray<readonly Panel[]>;
  footer: readonly string[];
}): string {
  const parts: string[] = [];
  let y = margin;
  for (const each of wrapped(options.title, whole, boldWidth * 18)) {
    y += 22;
    parts.push(text(margin, y - 4, each, { size: 18, bold: true }));
  }
  if (options.warning !== undefined) {
    y += 20;
    const style = { size: 14, bold: true, colour: inks.reference };
    parts.push(text(margin, y - 4, options.warning, style));
  }
  for (const each of wrapped(options.facts, whole, 12)) {
    y += 18;
    parts.push(text(margin, y - 4, each, { size: 13 }));
  }
  for (const panels of options.rows) {
    y += 14;
    let x = margin;
    for (const panel of panels) {
      parts.push(`<g transform="translate(${round(x)},${round(y)})">`, panel.draw(), '</g>');
      x += panel.width + gap;
    }
    y += Math.max(...panels.map(({ height }) => height));
  }
  y += 12;
  for (const each of options.footer.flatMap((one) => wrapped(one, whole, small))) {
    y += 15;
    parts.push(text(margin, y - 4, each, { size: small, colour: inks.faint }));
  }
  const size = `width="${sheetWidth}" height="${Math.ceil(y + margin)}"`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} viewBox="0 0 ${sheetWidth} ${Math.ceil(y + margin)}" font-family="Helvetica, Arial, sans-serif" role="img">`,
    `<rect ${size} fill="${inks.paper}"/>`,
    ...parts,
    '</svg>',
  ].join('\n')}\n`;
}

/** Two of them to a row. */
export function pairs<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / 2) }, (_, i) => all.slice(2 * i, 2 * i + 2));
}
