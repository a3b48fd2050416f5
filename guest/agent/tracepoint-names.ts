import { readdirSync, readFileSync } from 'node:fs';

const EVENTS = '/sys/kernel/tracing/events';

/** The tracepoints of this machine's kernel by their numbers, as `category:name`. */
export class TracepointNames {
  #names: Map<string, string> | undefined;

  /** Returns the name of a number, or undefined if no tracepoint has it. */
  of(id: string): string | undefined {
    // Most logs have no tracepoints, and reading all names takes a while.
    this.#names ??= readNames();
    const known = this.#names.get(id);
    if (known !== undefined) return known;
    // A module or a probe may have added the tracepoint since.
    this.#names = readNames();
    return this.#names.get(id);
  }
}

function readNames(): Map<string, string> {
  const names = new Map<string, string>();
  for (const category of foldersIn(EVENTS)) {
    for (const name of foldersIn(`${EVENTS}/${category}`)) {
      try {
        const id = readFileSync(`${EVENTS}/${category}/${name}/id`, 'latin1').trim();
        names.set(id, `${category}:${name}`);
      } catch {
        // The event has no number, such as ftrace's own events, or is gone.
      }
    }
  }
  return names;
}

function foldersIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}
