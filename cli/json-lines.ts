/** How the lines begin that a command with --json has to say on standard error. */
const BEGINNING = '{"waep":"';

/** What a line of a command is: why it failed, what else there is to tell, how a program ended. */
type Kind = 'error' | 'notice' | 'ended';

/** Makes a line of JSON for standard error. Nothing that a program says there is taken for one. */
export function jsonLine(kind: Kind, facts: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ waep: kind, ...facts });
}

/** As {@link jsonLine}, of an error that concerns an agent's address. */
export function errorLine(kind: Kind, error: Error, address?: string): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return jsonLine(kind, { address, code, message });
}

/** Whether a line was made here. */
export function isJsonLine(line: string): boolean {
  return line.startsWith(BEGINNING);
}
