/** What a chart's text looks like. Sizes are those that a reader sees: see `sheetWidth`. */
export interface TextStyle {
  size?: number;
  bold?: boolean;
  colour?: string;
  anchor?: 'start' | 'middle' | 'end';
  /** Whether lines behind it are kept from it. */
  halo?: boolean;
}

/** The inks of a chart. It is opaque and light, so that it reads the same in dark viewers. */
export const inks = {
  ink: '#1f2328',
  faint: '#59636e',
  grid: '#e6e8eb',
  reference: '#b3261e',
  paper: '#ffffff',
} as const;

/** Text with its baseline at `y`. */
export function text(x: number, y: number, content: string, style: TextStyle = {}): string {
  const { size = 12, bold = false, colour = inks.ink, anchor = 'start', halo = false } = style;
  const weight = bold ? ' font-weight="600"' : '';
  const place = anchor === 'start' ? '' : ` text-anchor="${anchor}"`;
  const behind = halo ? ` paint-order="stroke" stroke="${inks.paper}" stroke-width="4"` : '';
  return `<text x="${round(x)}" y="${round(y)}" font-size="${size}" fill="${colour}"${weight}${place}${behind}>${escaped(content)}</text>`;
}

export function line(
  [x1, y1]: readonly [number, number],
  [x2, y2]: readonly [number, number],
  { colour = inks.ink as string, width = 1, dash = '' } = {},
): string {
  const dashes = dash === '' ? '' : ` stroke-dasharray="${dash}"`;
  return `<path d="M${round(x1)} ${round(y1)}L${round(x2)} ${round(y2)}" stroke="${colour}" stroke-width="${width}"${dashes}/>`;
}

/** An interval of a value: a line with a stroke across each end. */
export function whisker(low: readonly [number, number], high: readonly [number, number]): string {
  const [dx, dy] = low[1] === high[1] ? [0, 3] : [3, 0];
  const end = ([x, y]: readonly [number, number]) => line([x - dx, y - dy], [x + dx, y + dy]);
  return line(low, high) + end(low) + end(high);
}

/** Lets a number have one digit after the point, which is less than anybody can see. */
export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/**
 * How wide a text is, in pixels, at most in the widest of the common sans-serif fonts: there is no
 * browser to ask.
 */
export function widthOf(content: string, size = 12): number {
  return 0.6 * size * content.length;
}

/** Where a line may end: between words, but not between a number and its unit. */
const space = / (?!(?:×|[µm]?s|[kM]?\/s|MB\/s|(?:[KM]i)?B)(?![a-z]))/;

/** Breaks a text into lines, each at most `width` pixels wide. */
export function wrapped(content: string, width: number, size: number): string[] {
  const lines: string[] = [];
  for (const word of content.split(space)) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && widthOf(longer, size) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
