import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { failure, WaepError } from '../errors.js';
import { FrameAssembler, HEADER_BYTES, MAX_FRAME_BYTES } from '../frame/index.js';
import {
  type Channel,
  ChannelEnd,
  type EndCallback,
  type FrameCallback,
  native,
} from '../native.js';
import { detachStream } from '../transport/index.js';

/** A stream that may keep the process from ending. */
type Holding = Duplex & Partial<Pick<Socket, 'ref' | 'unref'>>;

const SEND_BUFFER_BYTES = 64 * 1024;

/**
 * Makes the channel of a greeted connection. The channel is native if the stream has a descriptor
 * that can be taken from it.
 *
 * @throws ERR_PROTOCOL_UNEXPECTED when the agent has sent more than its WELCOME
 */
export function openChannel(
  stream: Duplex,
  onFrame: FrameCallback,
  onEnd: EndCallback,
  onDrain: () => void,
): Channel {
  const taken = detachStream(stream);
  if (taken === undefined) {
    return new StreamChannel(stream, MAX_FRAME_BYTES, onFrame, onEnd, onDrain);
  }
  if (taken.unread.byteLength > 0) {
    taken.close();
    throw failure('ERR_PROTOCOL_UNEXPECTED', {
      received: `${taken.unread.byteLength} bytes after WELCOME`,
      expected: 'answers to requests only',
    });
  }
  return new native.Channel(taken.source, MAX_FRAME_BYTES, onFrame, onEnd, onDrain);
}

/** The time limit for sending the last bytes, in milliseconds. */
const LAST_WORDS_MS = 1000;

/**
 * The counterpart of the native channel for a stream without a descriptor of its own, such as TLS.
 * It has the same interface, and the cost of Node's streams.
 */
export class StreamChannel implements Channel {
  readonly receiveBuffer = new Uint8Array(0);
  readonly frame = new Uint32Array(4);
  readonly sendBuffer = new Uint8Array(SEND_BUFFER_BYTES);
  readonly #stream: Duplex;
  readonly #assembler: FrameAssembler;
  readonly #onFrame: FrameCallback;
  readonly #onEnd: EndCallback;
  #ended = false;

  constructor(
    stream: Duplex,
    maxFrameBytes: number,
    onFrame: FrameCallback,
    onEnd: EndCallback,
    onDrain: () => void,
  ) {
    this.#stream = stream;
    this.#assembler = new FrameAssembler(maxFrameBytes);
    this.#onFrame = onFrame;
    this.#onEnd = onEnd;
    stream.on('drain', onDrain);
    stream.on('error', (error: NodeJS.ErrnoException) => this.#end(error.errno ?? -32));
    stream.on('end', () => this.#finish());
    stream.on('close', () => this.#finish());
  }

  get queuedBytes(): number {
    return this.#stream.writableLength;
  }

  send(length: number): number {
    return this.sendParts([this.sendBuffer.slice(0, length)]);
  }

  exchange(length: number): number {
    return this.send(length);
  }

  deliver(): void {}

  sendParts(parts: readonly Uint8Array[]): number {
    if (this.#ended) return -32;
    this.#stream.cork();
    // The caller may change its buffers after this returns.
    for (const part of parts) this.#stream.write(Buffer.from(part));
    this.#stream.uncork();
    return 0;
  }

  start(): void {
    this.#stream.on('data', (chunk: Uint8Array) => this.#receive(chunk));
  }

  ref(): void {
    (this.#stream as Holding).ref?.();
  }

  unref(): void {
    (this.#stream as Holding).unref?.();
  }

  close(): void {
    this.#ended = true;
    const stream = this.#stream;
    if (stream.writableLength === 0 || stream.destroyed) stream.destroy();
    else {
      // The last bytes may close the session. The guest then need not wait for the lease to end.
      const timer = setTimeout(() => stream.destroy(), LAST_WORDS_MS).unref();
      stream.once('close', () => clearTimeout(timer)).end(() => stream.destroy());
    }
  }

  #receive(chunk: Uint8Array): void {
    if (this.#ended) return;
    this.#assembler.add(chunk);
    try {
      for (;;) {
        const frame = this.#assembler.next();
        if (frame === undefined) return;
        this.frame.set([frame.type, frame.id, 0, frame.body.byteLength]);
        this.#onFrame(frame.body);
        if (this.#ended) return;
      }
    } catch (error) {
      if (!(error instanceof WaepError)) throw error;
      const detail = error.detail as { length?: number; maximum?: number };
      if (error.code === 'ERR_FRAME_TOO_LARGE') {
        this.#end(ChannelEnd.TOO_LARGE, detail.length, detail.maximum);
      } else {
        this.#end(ChannelEnd.MALFORMED, this.#assembler.pendingBytes, HEADER_BYTES);
      }
    }
  }

  #finish(): void {
    const have = this.#assembler.pendingBytes;
    this.#end(have === 0 ? 0 : ChannelEnd.TRUNCATED, have, this.#assembler.expectedBytes);
  }

  #end(status: number, have = 0, want = 0): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stream.destroy();
    this.#onEnd(status, have, want);
  }
}
