import { setTimeout as sleep } from 'node:timers/promises';
import type { RingBuffer } from '../../src/kernel/index.js';
import { Session } from '../../src/session.js';
import { type Emission, emission } from '../programs/emit.js';
import type { Followed, FollowRequest } from './protocol.js';

const deliveryTimeoutMs = 30_000;

/** A stream that is being read. Its result is requested once everything has been emitted. */
interface Following {
  delivered(): number;
  /** Ends the stream. */
  close(): Promise<Pick<Followed, 'elapsedNs' | 'latencies'>>;
}

let session: Session | undefined;
let emitting: { made: Emission; link: AsyncDisposable; following: Following } | undefined;

/** Lets a program in the guest emit records and reads them, in a session that stays open. */
export async function follow(request: FollowRequest): Promise<void> {
  session ??= await Session.connect(request.address, { client: 'waep bench' });
  const made = await emission(session, request.ringBytes, request.recordBytes);
  const link = await made.program.attachRawTracepoint('sys_enter');
  const following = request.stamped ? await readStamps(session, made.ring) : await read(made.ring);
  emitting = { made, link, following };
}

/** Waits for the remaining records and ends what {@link follow} began, except the session. */
export async function followed(): Promise<Followed> {
  if (emitting === undefined) throw new TypeError('nothing is followed');
  const { made, link, following } = emitting;
  emitting = undefined;
  const counts = await made.counts();
  const endMs = performance.now() + deliveryTimeoutMs;
  while (following.delivered() < counts.emitted) {
    if (performance.now() > endMs) throw new Error('records that were emitted have not arrived');
    await sleep(1);
  }
  const found = await following.close();
  await link[Symbol.asyncDispose]();
  await made[Symbol.asyncDispose]();
  return { ...counts, ...found, delivered: following.delivered() };
}

/** Ends the session. */
export function leave(): void {
  session?.close();
  session = undefined;
}

async function read(ring: RingBuffer): Promise<Following> {
  const stream = ring.records();
  let firstMs = 0;
  let lastMs = 0;
  let delivered = 0;
  await stream.consume(() => {
    delivered++;
    // Reading the clock for each would cost more than the rest.
    if (firstMs === 0) firstMs = performance.now();
    else if ((delivered & 63) === 0) lastMs = performance.now();
  });
  return {
    delivered: () => delivered,
    close: async () => {
      await stream.close();
      return { elapsedNs: (lastMs - firstMs) * 1e6, latencies: [] };
    },
  };
}

async function readStamps(session: Session, ring: RingBuffer): Promise<Following> {
  const stamps: { ktime: bigint; receivedMs: number }[] = [];
  const readings: Promise<unknown>[] = [session.readClock()];
  const stream = ring.records();
  await stream.consume((record) => {
    const receivedMs = performance.now();
    const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
    stamps.push({ ktime: view.getBigUint64(8, true), receivedMs });
    // Soon after one record, and long before the next.
    readings.push(session.readClock(2));
  });
  await readings[0];
  return {
    delivered: () => stamps.length,
    close: async () => {
      await Promise.all(readings);
      await stream.close();
      const clock = await session.readClock();
      const latencies = stamps.map(({ ktime, receivedMs }) => {
        const { hostMs, errorMs } = clock.place(ktime, receivedMs);
        return { latencyNs: (receivedMs - hostMs) * 1e6, errorNs: errorMs * 1e6 };
      });
      return { elapsedNs: 0, latencies };
    },
  };
}
