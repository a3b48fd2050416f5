import type { Duplex } from 'node:stream';
import type { Reply } from '../call.js';
import { failure, systemError } from '../errors.js';
import {
  type Events,
  FrameType,
  frameTypeName,
  messageFrame,
  parseError,
  parseEvents,
  parseReply,
} from '../frame/index.js';
import type { Channel } from '../native.js';
import { type Patience, PendingRequests } from './pending.js';
import { openChannel } from './stream-channel.js';

/**
 * Called for each EVENTS frame of a stream. If the bytes are lent, they are overwritten after the
 * call. Otherwise they belong to the callback.
 */
export type EventsCallback = (events: Events, lent: boolean) => void;

/**
 * A connection that carries the events of a session, apart from its calls. Requests about streams
 * go out, and their answers and EVENTS frames come in.
 */
export class EventConnection {
  readonly #address: string;
  readonly #channel: Channel;
  readonly #pending: PendingRequests;
  readonly #streams = new Map<number, EventsCallback>();
  readonly #onEnd: (reason: Error) => void;
  #closed: Error | undefined;

  /**
   * @param stream a connection that has joined a session; this object owns it from now on
   * @param timeoutMs the time limit of a request that sets none itself
   * @param onEnd called once when the connection is lost, but not after {@link close}
   */
  constructor(stream: Duplex, address: string, timeoutMs: number, onEnd: (reason: Error) => void) {
    this.#address = address;
    this.#onEnd = onEnd;
    // If a request is given up, an UNSUBSCRIBE undoes its effect in the guest.
    this.#pending = new PendingRequests(address, timeoutMs, () => {});
    this.#channel = openChannel(
      stream,
      (bytes) => this.#receive(bytes),
      (status) => this.#ended(status),
      () => {},
    );
    this.#channel.start();
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Delivers the events of stream `id` to `callback`. With `undefined`, drops them. */
  deliver(id: number, callback: EventsCallback | undefined): void {
    if (callback === undefined) this.#streams.delete(id);
    else this.#streams.set(id, callback);
  }

  /**
   * Sends a request and resolves with its answer. A failure of the guest's kernel is in the reply.
   *
   * @param onReply called with the answer before any later frame is handled
   * @throws ERR_CALL_TIMEOUT, ERR_CALL_ABORTED
   */
  request(
    type: number,
    body: unknown,
    patience?: Patience,
    onReply?: (reply: Reply) => void,
  ): Promise<Reply> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const id = this.#pending.newId();
    const pending = this.#pending.add(id, frameTypeName(type), patience, undefined, 0);
    if (onReply !== undefined) {
      const { resolve } = pending;
      pending.resolve = (reply) => {
        onReply(reply);
        resolve(reply);
      };
    }
    this.#send(messageFrame(type, id, body));
    return pending.promise;
  }

  /** Sends a frame that has no answer. */
  notify(type: number, body: unknown): void {
    if (this.#closed === undefined) this.#send(messageFrame(type, 0, body));
  }

  close(): void {
    this.#end(
      failure('ERR_SESSION_CLOSED', { address: this.#address, why: 'it was closed by this side' }),
    );
  }

  /** Sets whether this connection keeps the process from ending. */
  hold(held: boolean): void {
    if (held) this.#channel.ref();
    else this.#channel.unref();
  }

  #send(frame: Uint8Array): void {
    const status = this.#channel.sendParts([frame]);
    if (status < 0) this.#ended(status);
  }

  #receive(bytes: Uint8Array): void {
    const [type = 0, id = 0, start = 0, end = 0] = this.#channel.frame;
    try {
      if (type === FrameType.EVENTS) {
        const events = parseEvents(bytes, start, end);
        this.#streams.get(id)?.(events, bytes === this.#channel.receiveBuffer);
        return;
      }
      const pending = this.#pending.take(id);
      if (pending === undefined) this.#pending.takeAbandoned(id);
      if (type === FrameType.RESULT) {
        pending?.resolve(parseReply(bytes, start, end, undefined, false));
      } else if (type === FrameType.ERROR) {
        pending?.reject(parseError(bytes.slice(start, end)));
      } else {
        throw failure('ERR_PROTOCOL_UNEXPECTED', {
          received: frameTypeName(type),
          expected: 'EVENTS, RESULT or ERROR',
        });
      }
    } catch (error) {
      this.#lost(error as Error);
    }
  }

  #ended(status: number): void {
    this.#lost(
      status < 0
        ? systemError('recv', status, { address: this.#address })
        : failure('ERR_SESSION_CLOSED', {
            address: this.#address,
            why: 'the guest ended the connection for events',
          }),
    );
  }

  #lost(reason: Error): void {
    if (this.#closed !== undefined) return;
    this.#end(reason);
    this.#onEnd(reason);
  }

  #end(reason: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = reason;
    this.#channel.close();
    this.#pending.stop();
    for (const { reject } of this.#pending.takeAll()) reject(reason);
    this.#streams.clear();
  }
}
