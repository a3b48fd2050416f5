import { stripVTControlCharacters } from 'node:util';

/** Rows of cells in columns that are aligned with spaces, so that it reads the same in a file. */
export function columns(rows: ReadonlyArray<readonly string[]>): string {
  const lengthOf = (cell: string) => stripVTControlCharacters(cell).length;
  const widths = rows.reduce<number[]>(
    (most, row) => row.map((cell, i) => Math.max(most[i] ?? 0, lengthOf(cell))),
    [],
  );
  const padded = (cell: string, i: number) => cell + ' '.repeat((widths[i] ?? 0) - lengthOf(cell));
  return rows.map((row) => row.map(padded).join('  ').trimEnd()).join('\n');
}
