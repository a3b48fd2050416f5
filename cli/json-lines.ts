/**
 * What waep says with --json on standard error: an object on each line. What a program prints there
 * is a text in an object of its own, so that no program can print a line that looks like waep's.
 */
import type { Readable } from 'node:stream';
import { linesIn, writeLine } from './lines.js';

/** A longer line of a program becomes several. */
const MAX_TEXT_CHARACTERS = 16 * 1024;

/** The kind of a line: an error, a notice, the end of a program, or a line of a program. */
type Kind = 'error' | 'notice' | 'ended' | 'stderr';

/** Returns a line of JSON for standard error. */
export function jsonLine(kind: Kind, facts: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ waep: kind, ...facts });
}

/** Like {@link jsonLine}, for an error about an agent's address. */
export function errorLine(kind: Kind, error: Error, address?: string): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return jsonLine(kind, { address, code, message });
}

/** Passes on a program's standard error. */
export async function quote(from: Readable, address: string): Promise<void> {
  for await (const text of linesIn(from, MAX_TEXT_CHARACTERS)) {
    await writeLine(process.stderr, jsonLine('stderr', { address, text }));
  }
}
