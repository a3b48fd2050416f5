import { setTimeout as sleep } from 'node:timers/promises';
import type { Handle } from '../call.js';
import { errnoNumber } from '../errno.js';
import { FrameType, StreamSource } from '../frame/index.js';
import type { EventConnection } from './event-connection.js';
import type { EventHub } from './event-hub.js';
import { check } from './event-stream.js';

const ENOSPC = errnoNumber('ENOSPC');
const MAX_RECORDS = 1024;
const MAX_BYTES = 512 * 1024;
const FULL_MS = 1;

/** Writes records to a BPF_MAP_TYPE_USER_RINGBUF of the guest. Programs in the guest take them. */
export class RingWriter {
  readonly #hub: EventHub;
  readonly #map: Handle;
  readonly #sizeBytes: number;
  readonly #id: number;
  #connection: EventConnection | undefined;
  /** Settles when the guest has opened the ring for {@link #connection}. */
  #opened: Promise<unknown> | undefined;

  constructor(hub: EventHub, map: Handle, sizeBytes: number) {
    this.#hub = hub;
    this.#map = map;
    this.#sizeBytes = sizeBytes;
    this.#id = hub.newId();
  }

  /**
   * Writes records in their order. While the ring is full, waits until programs have taken some.
   * The records of writes at the same time come between each other.
   *
   * @throws E2BIG for a record that is too large for the ring; the signal's reason
   */
  async write(records: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    let at = 0;
    while (at < records.length) {
      signal?.throwIfAborted();
      const some = portion(records, at);
      const connection = await this.#open();
      // The agent answers at once. A request that is given up would leave it unknown how much was
      // written.
      const reply = await connection.request(FrameType.WRITE, [this.#id, some]);
      if (reply.errno === ENOSPC) await sleep(FULL_MS);
      else at += check(reply, 'WRITE').result;
    }
  }

  /** Ends the connection that the records travel on. */
  async close(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined || connection.closed) return;
    await connection.request(FrameType.UNSUBSCRIBE, [this.#id]);
  }

  async #open(): Promise<EventConnection> {
    const connection = await this.#hub.connection();
    if (connection !== this.#connection) {
      this.#connection = connection;
      const body = [this.#id, StreamSource.USER_RING, [this.#map], this.#sizeBytes, 1, 0, 1];
      const opened = connection.request(FrameType.SUBSCRIBE, body);
      this.#opened = opened.then((reply) => check(reply, 'SUBSCRIBE'));
    }
    try {
      await this.#opened;
    } catch (error) {
      if (this.#connection === connection) this.#connection = undefined;
      throw error;
    }
    return connection;
  }
}

function portion(records: readonly Uint8Array[], start: number): Uint8Array[] {
  const some: Uint8Array[] = [];
  let bytes = 0;
  for (let at = start; at < records.length && some.length < MAX_RECORDS; at++) {
    const record = records[at] as Uint8Array;
    bytes += record.length;
    if (some.length > 0 && bytes > MAX_BYTES) break;
    some.push(record);
  }
  return some;
}
