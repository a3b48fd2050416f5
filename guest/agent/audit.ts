import { appendFileSync, renameSync, statSync, writeSync } from 'node:fs';
import type { Agent } from './agent.js';

/** Where an audit log goes, and how large it may get. */
export interface AuditOptions {
  /** A path, or `-` for standard output. */
  target: string;
  /** At this size a file becomes `FILE.1`, in place of an older one, and a new one is begun. */
  maxBytes: number;
}

/**
 * Writes what an agent's sessions do, a line of JSON each. What cannot be written is counted, and
 * told once there is room again: the log keeps no session waiting.
 */
export class AuditLog {
  readonly #target: string;
  readonly #maxBytes: number;
  #bytes: number;
  #lost = 0;

  constructor({ target, maxBytes }: AuditOptions) {
    this.#target = target;
    this.#maxBytes = maxBytes;
    this.#bytes = target === '-' ? 0 : sizeOf(target);
  }

  /** Writes all that `agent` tells from here on. */
  follow(agent: Agent): this {
    agent.on('session', (facts) => this.write('session', facts));
    agent.on('detached', (facts) => this.write('detached', facts));
    agent.on('joined', (facts) => this.write('joined', facts));
    agent.on('ended', (facts) => this.write('ended', facts));
    agent.on('refused', ({ peer, error }) => this.write('refused', { peer, why: error.message }));
    agent.on('call', ({ call: { event, ...facts }, dropped, ...who }) => {
      this.#lost += dropped;
      this.write(event, { ...who, ...facts });
    });
    return this;
  }

  write(event: string, facts: object): void {
    const time = new Date().toISOString();
    if (
      this.#lost > 0 &&
      this.#append(`${JSON.stringify({ time, event: 'lost', lines: this.#lost })}\n`)
    ) {
      this.#lost = 0;
    }
    if (!this.#append(`${JSON.stringify({ time, event, ...facts })}\n`)) this.#lost++;
  }

  #append(line: string): boolean {
    try {
      if (this.#target === '-') {
        writeSync(1, line);
        return true;
      }
      const bytes = Buffer.byteLength(line);
      if (this.#bytes > 0 && this.#bytes + bytes > this.#maxBytes) {
        renameSync(this.#target, `${this.#target}.1`);
        this.#bytes = 0;
      }
      appendFileSync(this.#target, line, { mode: 0o600 });
      this.#bytes += bytes;
      return true;
    } catch {
      // A full disk, say.
      return false;
    }
  }
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
}
