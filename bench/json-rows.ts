/** An array in JSON with a line for each item, so that a change of one item is a change of one line. */
export function jsonRows(rows: readonly unknown[]): string {
  return `[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]`;
}
