import { native } from '../../src/native.js';

/** Tells a service manager such as systemd the agent's state, by the protocol of sd_notify(3). */
export class ServiceManager {
  readonly #path: string | undefined;
  #watchdog: NodeJS.Timeout | undefined;

  /** @param env has the manager's socket, and how often it expects a sign of life */
  constructor({ NOTIFY_SOCKET: path, WATCHDOG_USEC, WATCHDOG_PID }: NodeJS.ProcessEnv) {
    this.#path = path === '' ? undefined : path;
    const everyMs = Number(WATCHDOG_USEC ?? 0) / 1000;
    const isOurs = WATCHDOG_PID === undefined || WATCHDOG_PID === `${process.pid}`;
    if (this.#path === undefined || !isOurs || !(everyMs >= 2)) return;
    this.#watchdog = setInterval(() => this.#tell('WATCHDOG=1'), everyMs / 2).unref();
  }

  /** The agent accepts sessions. */
  ready(status: string): void {
    this.#tell(`READY=1\nSTATUS=${status}`);
  }

  /** The agent reads its files again. `ready` follows. */
  reloading(): void {
    const microseconds = process.hrtime.bigint() / 1000n;
    this.#tell(`RELOADING=1\nMONOTONIC_USEC=${microseconds}`);
  }

  /** The agent accepts no more sessions. */
  stopping(): void {
    clearInterval(this.#watchdog);
    this.#tell('STOPPING=1');
  }

  #tell(text: string): void {
    if (this.#path !== undefined) native.sendDatagram(this.#path, Buffer.from(text));
  }
}
