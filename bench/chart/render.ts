import { parse, textMetrics, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';

declare module 'vega' {
  /** How vega measures text; vega-scenegraph documents that `width` may be replaced. */
  export const textMetrics: { width(item: { fontSize?: number }, text: unknown): number };
}

const defaultFontSize = 11;

// Without a browser there is nothing to measure text with. Vega's own guess is far too wide, which
// leaves an empty margin; this one fits the widest of the common sans-serif fonts.
textMetrics.width = ({ fontSize = defaultFontSize }, text) => 0.6 * fontSize * String(text).length;

/** Draws a chart as an SVG document. The same specification always gives the same document. */
export async function renderSvg(spec: TopLevelSpec): Promise<string> {
  const view = new View(parse(compile(spec).spec), { renderer: 'none' });
  try {
    return `${await view.toSVG()}\n`;
  } finally {
    view.finalize();
  }
}
