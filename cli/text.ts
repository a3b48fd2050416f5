import stringWidth from 'string-width';

/** Returns how many columns of a terminal a text takes. Colours take none. */
export const columnsOf = (text: string): number => stringWidth(text);

/**
 * Returns the width of a stream's terminal in columns, and `otherwise` if it is none. A terminal
 * that does not know its size says 0.
 */
export function widthOf({ columns }: { columns?: number }, otherwise: number): number {
  return columns || otherwise;
}

/**
 * Returns a text as lines of at most `width` columns of a terminal, broken at spaces. A word that
 * is wider goes on in the next line.
 *
 * @param taken how many columns the first line has less than the others
 */
export function wrapped(text: string, width: number, taken = 0): string[] {
  const lines: string[] = [];
  const room = () => (lines.length === 0 ? width - taken : width);
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (columnsOf(longer) <= room()) {
      line = longer;
      continue;
    }
    if (line !== '' || room() < width) lines.push(line);
    const pieces = broken(word, width);
    line = pieces.pop() ?? '';
    lines.push(...pieces);
  }
  return [...lines, line];
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours take no column, and stay whole.
const CHARACTERS = /\u001b\[[\d;]*m|./gsu;

function broken(word: string, width: number): string[] {
  const pieces: string[] = [];
  let piece = '';
  for (const [character] of word.matchAll(CHARACTERS)) {
    if (piece !== '' && columnsOf(piece + character) > width) {
      pieces.push(piece);
      piece = '';
    }
    piece += character;
  }
  return [...pieces, piece];
}

/** Returns a text with spaces after it, up to a width in columns. */
export function padded(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - columnsOf(text)));
}

/** Returns a line that fits into `width` columns. One that is cut ends with `…`. */
export function cut(line: string, width: number): string {
  if (columnsOf(line) <= width) return line;
  return `${broken(line, Math.max(1, width - 1))[0]}…`;
}

const GAP = '  ';

/**
 * Returns rows of cells in columns. If they are wider than `width`, cells go on in the next lines,
 * those of the widest column first. Where not even the words fit beside each other, each cell has
 * lines of its own, and all but a row's first are indented.
 */
export function table(rows: readonly (readonly string[])[], width: number): string {
  const widest = (widthOfCell: (cell: string) => number) =>
    (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => widthOfCell(row[at] ?? ''))));
  const widths = widest(columnsOf);
  const least = widest((cell) => Math.max(...cell.split(' ').map(columnsOf)));
  const available = width - GAP.length * (widths.length - 1);
  const sum = (all: readonly number[]) => all.reduce((one, other) => one + other, 0);
  if (sum(least) > available) return rows.flatMap((row) => paragraphs(row, width)).join('\n');
  while (sum(widths) > available) {
    const spare = widths.map((one, at) => (one > (least[at] ?? 0) ? one : 0));
    const at = spare.indexOf(Math.max(...spare));
    widths[at] = (widths[at] ?? 0) - 1;
  }
  const lines = rows.flatMap((row) => {
    const cells = row.map((text, at) => wrapped(text, widths[at] ?? 0));
    const height = Math.max(...cells.map(({ length }) => length));
    return Array.from({ length: height }, (_, line) =>
      cells
        .map((cell, at) => padded(cell[line] ?? '', widths[at] ?? 0))
        .join(GAP)
        .trimEnd(),
    );
  });
  return lines.join('\n');
}

function paragraphs([first = '', ...others]: readonly string[], width: number): string[] {
  return [
    ...wrapped(first, width),
    ...others.flatMap((text) => wrapped(text, width - GAP.length).map((line) => GAP + line)),
  ];
}
