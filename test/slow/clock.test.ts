import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { boot } from '../../guest/index.js';
import { enums, type GuestClock, Session } from '../../src/index.js';
import { emitter } from '../events/emitter.js';
import { cli } from '../run/application.js';
import { patient, until } from '../until.js';

t.setTimeout(1_200_000);

const PAUSE_MS = 10_000;
const RING_BYTES = 64 * 1024;
/** By how much the rates of the clocks may differ, and then some: what {@link GuestClock} allows for. */
const DRIFT = 3e-3;

/** A stamp of the guest's, and two readings of the host's clock between which it was made. */
interface Stamp {
  ktime: bigint;
  receivedMs: number;
  afterMs: number;
  beforeMs: number;
}

t.test("the guest's clock on the host's timeline", async (t) => {
  await using guest = await boot({
    exec: true,
    network: 'user',
    vsock: 'none',
    agent: { tcp: 'anybody', profile: 'full' },
    notice: () => {},
  });
  await using session = await Session.connect(guest.tcp(), patient);
  await using ring = await session.createMap({
    type: enums.MapType.BPF_MAP_TYPE_RINGBUF,
    maxEntries: RING_BYTES,
  });
  await using emit = await emitter(session, ring, 8, 'time');
  const arrived: { ktime: bigint; receivedMs: number }[] = [];
  const stream = await session.subscribe(
    { source: 'ring', map: ring.handle, sizeBytes: RING_BYTES },
    {},
    ({ bytes, receivedMs }) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      arrived.push({ ktime: view.getBigUint64(8, true), receivedMs });
    },
  );
  const stamp = async (): Promise<Stamp> => {
    const count = arrived.length;
    const afterMs = performance.now();
    await emit.run(1);
    const beforeMs = performance.now();
    await until('a stamp', () => arrived.length > count, { everyMs: 1 });
    return { ...(arrived[count] as (typeof arrived)[number]), afterMs, beforeMs };
  };
  /** Reads the clock, and returns the shortest round trip that was measured beside that. */
  let clock: GuestClock = await session.readClock(1);
  const readClock = async () => {
    let shortestMs = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 8; i++) {
      const startMs = performance.now();
      clock = await session.readClock(1);
      shortestMs = Math.min(shortestMs, performance.now() - startMs);
    }
    return shortestMs;
  };
  /** Whether a moment is where it can have been; returns the bound. */
  const placed = (
    t: Test,
    { ktime, receivedMs, afterMs, beforeMs }: Stamp,
    what: string,
  ): number => {
    const { hostMs, errorMs } = clock.place(ktime, receivedMs);
    const [from, to] = [hostMs - errorMs, hostMs + errorMs].map((ms) => (ms - afterMs).toFixed(3));
    const within = (beforeMs - afterMs).toFixed(3);
    t.ok(
      hostMs - errorMs <= beforeMs && hostMs + errorMs >= afterMs,
      `${what}: ${from} to ${to} ms, where it was between 0 and ${within}`,
    );
    return errorMs;
  };
  /** A stamp between readings is bounded by the round trips of these. */
  const bounded = async (t: Test, what: string) => {
    const startMs = performance.now();
    const first = await readClock();
    const between = await stamp();
    const second = await readClock();
    const errorMs = placed(t, between, what);
    const boundMs = (first + second) / 2 + DRIFT * (performance.now() - startMs);
    t.ok(errorMs <= boundMs, `${what}: ± ${errorMs} ms, for round trips of ${first} and ${second}`);
    t.ok(clock.bestErrorMs <= Math.min(first, second) / 2, 'half of a round trip, at best');
  };

  await t.test('the bound holds, and is that of round trips', async (t) => {
    for (let i = 0; i < 5; i++) await bounded(t, `stamp ${i}`);
  });

  await t.test('a guest that is paused', async (t) => {
    const last = await stamp();
    await using silent = await session.createMap({
      type: enums.MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
      keySize: 4,
      valueSize: 4,
      maxEntries: 1,
      name: 'silent',
    });
    const cutShort = spawn(process.execPath, [cli, 'stream', silent.name, '--vm', guest.tcp()], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    t.teardown(() => cutShort.kill('SIGKILL'));
    await once(cutShort.stderr, 'data');
    await guest.qmp('stop');
    const pausedMs = performance.now();
    cutShort.kill('SIGINT');
    const [status] = await once(cutShort, 'close');
    t.equal(status, 0, 'Ctrl-C does not wait for a guest');
    t.ok(performance.now() - pausedMs < PAUSE_MS, 'and takes less than the pause');
    await sleep(PAUSE_MS - (performance.now() - pausedMs));
    await guest.qmp('cont');
    const first = await stamp();
    t.notOk(session.closed || session.interrupted, 'the session goes on');
    placed(t, first, 'after the pause, before any reading');
    const roundTripMs = await readClock();
    const arrivedMs = placed(t, last, 'before the pause, by its arrival');
    t.ok(arrivedMs < PAUSE_MS / 10, `± ${arrivedMs} ms`);
    const unknown = { ...last, receivedMs: Number.POSITIVE_INFINITY };
    const wideMs = placed(t, unknown, 'before the pause, between readings');
    t.ok(wideMs > PAUSE_MS / 3, `± ${wideMs} ms: the pause may have come before it or after`);
    const errorMs = placed(t, first, 'after the pause, between readings');
    t.comment(`± ${errorMs} ms for the first stamp, round trips of ${roundTripMs} ms`);
    await bounded(t, 'once the clock was read again');
    await stream.close();
    t.match(stream.statistics, { resumed: 0, lostInTransit: 0, delivered: arrived.length });
  });
});
