import { EventEmitter } from 'node:events';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { failure } from '../../../src/errors.js';

/** An event of QEMU, such as `STOP` or `SHUTDOWN`. */
export interface QmpEvent {
  event: string;
  data?: Record<string, unknown>;
}

/** A connection that does not keep a program from ending once {@link Control.unref} was called. */
export type Control = Duplex & { ref(): unknown; unref(): unknown };

/**
 * QEMU's control connection (docs/interop/qmp-spec.rst). After {@link Qmp.open} has resolved, it
 * emits `event` for every event of QEMU.
 */
export class Qmp extends EventEmitter<{ event: [QmpEvent] }> {
  readonly #control: Control;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #nextId = 1;
  #closed = false;

  /** @param control one end of a pair of sockets, of which QEMU has the other */
  constructor(control: Control) {
    super();
    this.#control = control;
    const lines = createInterface({ input: control });
    lines.on('line', (line) => {
      const message: Answer | QmpEvent = JSON.parse(line);
      if ('event' in message) {
        this.emit('event', message);
        return;
      }
      if (message.id === undefined) return;
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
      // A guest that is up does not keep a program from ending; an awaited answer does.
      if (this.#waiting.size === 0) control.unref();
    });
    control.on('close', () => {
      this.#closed = true;
      for (const settle of this.#waiting.values()) settle(ended);
      this.#waiting.clear();
    });
    // What goes wrong on the way reaches the callers through 'close'.
    control.on('error', () => {});
    lines.on('error', () => {});
    control.unref();
  }

  /** Leaves QEMU's negotiation mode. From then on QEMU accepts commands and sends events. */
  async open(): Promise<void> {
    await this.execute('qmp_capabilities');
  }

  /**
   * Runs a command and returns what QEMU returned for it.
   *
   * @throws ERR_TOOL_FAILED with QEMU's words
   */
  async execute(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const id = this.#nextId++;
    const answer = await new Promise<Answer>((resolve) => {
      if (this.closed) return resolve(ended);
      this.#waiting.set(id, resolve);
      this.#control.ref();
      this.#control.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
    if (answer.error === undefined) return answer.return;
    const why = answer.error.desc;
    throw failure('ERR_TOOL_FAILED', { tool: `QEMU's ${command}`, why, log: 'the serial log' });
  }

  /** Whether QEMU has closed the connection, or this side. */
  get closed(): boolean {
    return this.#closed || this.#control.destroyed;
  }

  close(): void {
    this.#control.destroy();
  }
}

interface Answer {
  id?: number;
  return?: unknown;
  error?: { desc: string };
}

const ended: Answer = { error: { desc: 'QEMU has ended' } };
