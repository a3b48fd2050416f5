import { EventEmitter } from 'node:events';
import { decodeBody } from '../../src/frame/body.js';
import { native } from '../../src/native.js';
import { ControlChannel, ControlKind, type ControlMessage, Purpose } from './control.js';
import type { Ending, Keeper, Kept } from './keeper.js';

/** How long an executor may take to end in order. */
const END_MS = 2000;

/** The report of an executor when its session has ended. */
export interface ExecutorReport {
  /**
   * 0: a clean end; 1: an end inside a frame; 2 or 3: a refused frame; 4: the client ended the
   * session. A negative errno otherwise: -11 means that the client fell silent.
   */
  end: number;
  framesIn: number;
  framesOut: number;
  bytesIn: number;
  bytesOut: number;
  calls: number;
  refused: number;
  handles: number;
  /** Records of events that were dropped for exceeding their rate. */
  eventsDropped: number;
  /** Records for the audit log that found no room, after the last one that did. */
  recordsDropped: number;
}

/** An executor's report of a call for the audit log: its outcome, and details as texts. */
export interface ExecutorCall {
  /** `refused`, or the rules' name for the event, such as `program`. */
  event: string;
  command: string;
  [fact: string]: string;
}

/** How an executor ended: with its report, or without one when it was killed. */
export interface ExecutorEnd extends Ending {
  report: ExecutorReport | undefined;
}

/** The events of a running executor. */
export interface ExecutorEvents {
  /** The connection for calls is lost and the lease runs. `end` is as in {@link ExecutorReport}. */
  detached: [end: number];
  /** A record for the audit log, and the number of records lost before it for want of room. */
  audit: [record: unknown, dropped: number];
}

/**
 * The process that serves one session (addon/core/executor/executor_main.cc). It ends when it is
 * told to, when its connection ends without a lease, or when this process ends.
 */
export class ExecutorProcess extends EventEmitter<ExecutorEvents> {
  readonly pid: number;
  /** Resolves when the process has ended, and with it every object of its session. */
  readonly ended: Promise<ExecutorEnd>;
  readonly #process: Kept;
  readonly #control: ControlChannel;
  #report: ExecutorReport | undefined;

  constructor(keeper: Keeper) {
    super();
    const [ours, theirs] = ControlChannel.pair();
    try {
      this.#process = keeper.start(theirs);
    } catch (error) {
      native.close(ours);
      throw error;
    } finally {
      native.close(theirs);
    }
    this.pid = this.#process.pid;
    let fallSilent = () => {};
    const silent = new Promise<void>((resolve) => {
      fallSilent = resolve;
    });
    this.#control = new ControlChannel(ours, (message) => this.#receive(message), fallSilent);
    this.ended = this.#process.ended.then(async (ending) => {
      // The last message may still be on its way.
      await silent;
      return { report: this.#report, ...ending };
    });
  }

  /**
   * Passes a connected socket for calls to the executor, which owns the socket from then on. It is
   * the first one, or the next one when a session is resumed.
   *
   * @param leaseMs how long the session outlives the loss of this connection
   * @param silenceMs how long the client may be silent before the connection is lost; 0 for ever
   */
  attach(fd: number, leaseMs: number, silenceMs: number): void {
    native.setBlocking(fd, true);
    native.setTimeouts(fd, silenceMs);
    native.setNoDelay(fd);
    const { ATTACH: kind } = ControlKind;
    this.#control.send({ kind, detail: Purpose.MAIN, number: leaseMs, descriptor: fd });
  }

  /** Passes a connected, non-blocking socket for events to the executor. */
  attachEvents(fd: number): void {
    native.setNoDelay(fd);
    this.#control.send({ kind: ControlKind.ATTACH, detail: Purpose.EVENTS, descriptor: fd });
  }

  /** Cancels a request: drops it before it begins, or interrupts its system call if possible. */
  cancel(id: number): void {
    this.#control.send({ kind: ControlKind.CANCEL, number: id });
  }

  /** Ends the session after its current call. Kills the process if it does not end by itself. */
  end(): void {
    this.#control.send({ kind: ControlKind.END });
    const timer = setTimeout(() => this.kill(), END_MS);
    void this.ended.then(() => clearTimeout(timer));
  }

  /** Ends the session at once. */
  kill(): void {
    this.#process.kill();
  }

  #receive({ kind, number, payload }: ControlMessage): void {
    switch (kind) {
      case ControlKind.REPORT:
        this.#report = decodeBody(payload) as ExecutorReport;
        break;
      case ControlKind.DETACHED:
        this.emit('detached', number | 0);
        break;
      case ControlKind.AUDIT:
        this.emit('audit', decodeBody(payload.slice()), number);
        break;
    }
  }
}
