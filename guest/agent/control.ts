import { systemError } from '../../src/errors.js';
import { native, PollEvent, type Poller } from '../../src/native.js';

/* addon/core/executor/control.h describes the messages and is the other side. */

const HEADER_BYTES = 8;
const MAX_MESSAGE_BYTES = 64 * 1024;
const EAGAIN = -11;

/** The kinds of messages. */
export const ControlKind = {
  RULES: 0x01,
  ATTACH: 0x02,
  CANCEL: 0x03,
  CONFINEMENT: 0x04,
  START: 0x05,
  KILL: 0x06,
  END: 0x07,
  RELOAD: 0x08,
  REPORT: 0x81,
  DETACHED: 0x82,
  AUDIT: 0x83,
  READY: 0x84,
  STARTED: 0x85,
  ENDED: 0x86,
  RELOADED: 0x88,
} as const;

/** The purpose of a connection that the agent passes to an executor. */
export const Purpose = { MAIN: 0, EVENTS: 1 } as const;

/** A message from an executor or the keeper. */
export interface ControlMessage {
  kind: number;
  detail: number;
  number: number;
  /** Valid until the callback returns. */
  payload: Uint8Array;
}

/** A message to send. A field that is missing is zero, empty or no descriptor. */
export interface ControlOutput {
  kind: number;
  detail?: number;
  number?: number;
  payload?: Uint8Array;
  /** The receiver gets a copy. This descriptor is closed once it is sent, or cannot be sent. */
  descriptor?: number;
}

/**
 * What a channel has received, until its callback returns. All channels share this buffer: a buffer
 * of a channel's own would stay allocated after the session, until the next garbage collection.
 */
const received = new Uint8Array(MAX_MESSAGE_BYTES);

/**
 * The agent's end of the channel to an executor or the keeper. Sending never waits. Messages are
 * received in order, all of them before `onEnd`.
 */
export class ControlChannel {
  readonly #fd: number;
  readonly #poller: Poller;
  readonly #onMessage: (message: ControlMessage) => void;
  readonly #onEnd: () => void;
  readonly #waiting: ControlOutput[] = [];
  #closed = false;

  /** Makes both ends of a channel. The caller hands one over and closes it. */
  static pair(): [number, number] {
    const pair = new Int32Array(2);
    const error = native.messagePair(pair);
    if (error < 0) throw systemError('socketpair', error);
    return [pair[0] as number, pair[1] as number];
  }

  /** @param fd one end, which the channel owns from here on */
  constructor(fd: number, onMessage: (message: ControlMessage) => void, onEnd: () => void) {
    this.#fd = fd;
    this.#onMessage = onMessage;
    this.#onEnd = onEnd;
    this.#poller = new native.Poller(fd, (status, events) => {
      if ((events & PollEvent.WRITABLE) !== 0) this.#flush();
      // If an executor died before it had read everything, poll(2) reports an error.
      if (status < 0 || (events & ~PollEvent.WRITABLE) !== 0) this.#receive();
    });
    this.#watch();
  }

  send(output: ControlOutput): void {
    if (this.#closed) {
      drop(output);
      return;
    }
    this.#waiting.push(output);
    if (this.#waiting.length === 1) this.#flush();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const output of this.#waiting.splice(0)) drop(output);
    this.#poller.close();
    native.close(this.#fd);
    this.#onEnd();
  }

  #watch(): void {
    const writable = this.#waiting.length > 0 ? PollEvent.WRITABLE : 0;
    this.#poller.poll(PollEvent.READABLE | writable);
  }

  #flush(): void {
    for (
      let next = this.#waiting[0];
      next !== undefined && !this.#closed;
      next = this.#waiting[0]
    ) {
      const sent = sendControl(this.#fd, next);
      if (sent === EAGAIN) break;
      this.#waiting.shift();
      drop(next);
      // If the executor is gone, the receiving side notices.
    }
    if (!this.#closed) this.#watch();
  }

  #receive(): void {
    while (!this.#closed) {
      const got = native.recv(this.#fd, received, 0, received.byteLength);
      if (got === EAGAIN) return;
      if (got < HEADER_BYTES) {
        this.close();
        return;
      }
      this.#onMessage(parse(received.subarray(0, got)));
    }
  }
}

function sendControl(fd: number, output: ControlOutput): number {
  const { kind, detail, number, payload, descriptor } = output;
  const header = new Uint8Array(HEADER_BYTES);
  header[0] = kind;
  header[1] = detail ?? 0;
  new DataView(header.buffer).setUint32(4, number ?? 0, true);
  const parts = payload === undefined ? [header] : [header, payload];
  return native.sendMessage(fd, parts, descriptor ?? -1);
}

function parse(bytes: Uint8Array): ControlMessage {
  return {
    kind: bytes[0] as number,
    detail: bytes[1] as number,
    number: new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true),
    payload: bytes.subarray(HEADER_BYTES),
  };
}

/**
 * Sends a message and waits for the answer. This blocks the event loop, so it is only for messages
 * that are answered at once.
 *
 * @returns the answer, or `undefined` when the other end is gone
 */
export function askControl(fd: number, output: ControlOutput): ControlMessage | undefined {
  const buffer = new Uint8Array(HEADER_BYTES + 16);
  if (sendControl(fd, output) < 0) return undefined;
  const got = native.recv(fd, buffer, 0, buffer.byteLength);
  return got < HEADER_BYTES ? undefined : parse(buffer.subarray(0, got));
}

function drop(output: ControlOutput): void {
  if (output.descriptor !== undefined) native.close(output.descriptor);
}

/** Splits bytes into pieces that fit one message each. Returns at least one piece. */
export function pieces(bytes: Uint8Array): Uint8Array[] {
  const room = MAX_MESSAGE_BYTES - HEADER_BYTES;
  const count = Math.max(1, Math.ceil(bytes.byteLength / room));
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * room, (i + 1) * room));
}
