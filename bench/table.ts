import Table from 'cli-table3';
import colours from 'picocolors';

/**
 * A table for the terminal, without rows. Its colours are those of picocolors, which heeds NO_COLOR
 * and whether the output is a terminal; the library's own do not.
 */
export function table(head: readonly string[]): InstanceType<typeof Table> {
  return new Table({
    head: head.map((title) => colours.cyan(title)),
    style: { head: [], border: [], compact: true },
  });
}
