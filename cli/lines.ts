import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';

/** What ends a line. A carriage return at the end may be half of such an end. */
const LINE_END = /\r?\n|\r(?!\n|$)/;

/**
 * Yields the lines of a stream, without their ends. A line with more than `maxCharacters` is split
 * at an arbitrary place, so that a program without ends of lines does not fill the memory.
 */
export async function* linesIn(from: Readable, maxCharacters: number): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of from.setEncoding('utf8')) {
    const lines = (rest + chunk).split(LINE_END);
    rest = lines.pop() ?? '';
    yield* lines;
    while (rest.length > maxCharacters) {
      yield rest.slice(0, maxCharacters);
      rest = rest.slice(maxCharacters);
    }
  }
  if (rest !== '') yield rest.replace(/\r$/, '');
}

/** Writes a line, and waits while the reader is behind. */
export async function writeLine(to: Writable, line: string): Promise<void> {
  if (!to.write(`${line}\n`)) await once(to, 'drain');
}

/** Waits until everything that was printed is written. The end of the process would lose the rest. */
export async function printed(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((resolve) => stream.write('', () => resolve()));
  }
}
