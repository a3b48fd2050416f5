/** The beginning of each of waep's own lines on standard error with --json. */
const BEGINNING = '{"waep":"';

/** The kind of a line: an error, a notice, or the end of a program. */
type Kind = 'error' | 'notice' | 'ended';

/** Returns a line of JSON for standard error. */
export function jsonLine(kind: Kind, facts: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ waep: kind, ...facts });
}

/** Like {@link jsonLine}, for an error about an agent's address. */
export function errorLine(kind: Kind, error: Error, address?: string): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return jsonLine(kind, { address, code, message });
}

/**
 * Returns whether a line looks like a line of {@link jsonLine}. A program can print such a line,
 * too.
 */
export function isJsonLine(line: string): boolean {
  return line.startsWith(BEGINNING);
}
