import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { failure } from '../../src/errors.js';

/** QEMU's control connection (docs/interop/qmp-spec.txt): one command at a time per id. */
export class Qmp {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #nextId = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    const lines = createInterface({ input: socket });
    lines.on('line', (line) => {
      const answer: Answer = JSON.parse(line);
      if (answer.id === undefined) return;
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
      // A guest that is up does not keep a program from ending; an awaited answer does.
      if (this.#waiting.size === 0) socket.unref();
    });
    socket.on('close', () => {
      for (const settle of this.#waiting.values()) settle({ error: { desc: 'QEMU has ended' } });
      this.#waiting.clear();
    });
    // What goes wrong on the way reaches the callers through 'close'.
    socket.on('error', () => {});
  }

  /** Connects to QEMU's socket and leaves its negotiation mode. */
  static async connect(path: string): Promise<Qmp> {
    const socket = createConnection(path);
    await once(socket, 'connect');
    const qmp = new Qmp(socket);
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /**
   * Runs a command and returns what QEMU returned for it.
   *
   * @throws ERR_TOOL_FAILED with QEMU's words
   */
  async execute(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const id = this.#nextId++;
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.ref();
      if (this.#socket.destroyed) resolve({ error: { desc: 'QEMU has ended' } });
      else this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
    if (answer.error === undefined) return answer.return;
    const why = answer.error.desc;
    throw failure('ERR_TOOL_FAILED', { tool: `QEMU's ${command}`, why, log: 'the serial log' });
  }

  close(): void {
    this.#socket.destroy();
  }
}

interface Answer {
  id?: number;
  return?: unknown;
  error?: { desc: string };
}
