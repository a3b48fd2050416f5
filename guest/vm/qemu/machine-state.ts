import { readFile } from 'node:fs/promises';
import type { Qmp } from './qmp.js';

/** QEMU's run states (qapi/run-state.json) of a machine that an error has stopped. */
const broken: Readonly<Record<string, string>> = {
  'internal-error': 'an internal error of its accelerator',
  'io-error': 'an error of a device',
  'guest-panicked': 'a panic of its kernel',
  watchdog: 'its watchdog',
};

/** Why QEMU ends a machine (ShutdownCause in qapi/run-state.json), in words. */
const shutdowns: Readonly<Record<string, string>> = {
  'guest-shutdown': 'the guest powered itself off',
  'guest-reset': 'the guest reset its machine, as it does after a triple fault',
  'guest-panic': 'the kernel of the guest panicked',
  'host-signal': 'a signal ended QEMU',
};

/** Follows what QEMU reports about a machine's end, from the moment the connection is open. */
export class MachineState {
  readonly #qmp: Qmp;
  readonly #log: string;
  readonly #stopped: Promise<string>;
  #stop: string | undefined;
  #shutdown: string | undefined;

  /** @param log the file that has QEMU's own output */
  constructor(qmp: Qmp, log: string) {
    this.#qmp = qmp;
    this.#log = log;
    this.#stopped = new Promise((resolve) => {
      qmp.on('event', ({ event, data }) => {
        if (event === 'SHUTDOWN') this.#shutdown = `${data?.reason}`;
        if (event === 'STOP') void this.#reason().then((why) => why !== undefined && resolve(why));
      });
    });
  }

  /** Resolves with the reason when QEMU has stopped the processors and will not go on. */
  get stopped(): Promise<string> {
    return this.#stopped;
  }

  /** Like {@link MachineState.stopped}, without waiting. */
  get stop(): string | undefined {
    return this.#stop;
  }

  /** Why the machine was shut down, once QEMU has said so. */
  get shutdown(): string | undefined {
    if (this.#shutdown === undefined) return undefined;
    return shutdowns[this.#shutdown] ?? `QEMU shut the machine down (${this.#shutdown})`;
  }

  /** Describes the processors and the timer of the first, to find why a guest stands still. */
  async processors(): Promise<string> {
    const answers = ['info lapic 0', 'info registers -a'].map((query) =>
      this.#qmp.execute('human-monitor-command', { 'command-line': query }),
    );
    return (await Promise.all(answers)).join('\n');
  }

  /** Returns why an error has stopped the processors, or `undefined` if none has. */
  async #reason(): Promise<string | undefined> {
    const answer = await this.#qmp.execute('query-status').catch(() => undefined);
    const status = (answer as { status?: string } | undefined)?.status ?? '';
    const why = broken[status];
    if (why === undefined) return undefined;
    const words = await lastMessages(this.#log);
    this.#stop = `QEMU stopped it after ${why}${words === '' ? '' : ` (${words})`}`;
    return this.#stop;
  }
}

/** The last three messages of QEMU, without the processor's registers that follow them. */
async function lastMessages(log: string): Promise<string> {
  const lines = (await readFile(log, 'utf8').catch(() => ''))
    .split('\n')
    .map((line) => line.trim());
  const registers = lines.findIndex((line) => /^[ER]AX=/.test(line));
  const words = lines.slice(0, registers === -1 ? lines.length : registers);
  return words
    .filter((line) => line !== '')
    .slice(-3)
    .join('; ');
}
