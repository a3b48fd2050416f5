import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { decodeValue } from '../../src/codec/index.js';
import { enums, Session, struct, u32, u64 } from '../../src/index.js';
import { eachRingRecord } from '../../src/kernel/index.js';
import { compile, profiles } from '../../src/policy/index.js';
import { connect } from '../../src/transport/index.js';
import { type LocalAgent, localAgent } from '../agent/local-agent.js';
import { session as open, skip } from '../kernel/local-session.js';
import { until } from '../until.js';
import { FIRST, outOfOrder, SECOND } from './busy.js';
import { drainOf } from './drain.js';
import { emitter } from './emitter.js';
import { arrayOf, ringOf } from './maps.js';
import { type Relay, relayTo } from './relay.js';

const { MapType } = enums;
/** What a record of 16 bytes takes in a ring buffer. */
const RECORD_BYTES = 24;
/** Less than 200 of these. */
const WINDOW_BYTES = 2048;

t.test('ring buffers', { skip }, async (t) => {
  const session = await open(t);

  for (const sizeBytes of [4096, 64 * 1024, 64 * 1024 * 1024]) {
    t.test(`of ${sizeBytes} bytes: what there is room for arrives, in order`, async (t) => {
      await using ring = await ringOf(session, sizeBytes);
      await using emit = await emitter(session, ring, 48);
      const seen: bigint[] = [];
      const events = ring.records({ codec: struct({ sequence: u64, attempt: u64 }) });
      await events.consume(({ sequence }) => seen.push(sequence));
      // Several times around: records come to lie across the end.
      const rounds = Math.min(3000, Math.ceil((sizeBytes * 3) / 56));
      for (let i = 0; i < rounds; i += 20) await emit.run(20);
      const { emitted, failed } = await emit.counts();
      await until('every record', () => seen.length === Number(emitted));
      await events.close();
      t.same(
        seen,
        Array.from(seen, (_, at) => BigInt(at)),
      );
      t.equal(Number(emitted + failed), Math.ceil(rounds / 20) * 20);
      t.match(events.statistics, { delivered: Number(emitted), lostInTransit: 0, lagBytes: 0 });
    });
  }

  t.test('discarded records are not seen, and records may be of any length', async (t) => {
    await using ring = await ringOf(session, 4096);
    const lengths: number[] = [];
    const events = ring.records();
    await events.consume((record) => lengths.push(record.length));
    for (const size of [0, 1, 7, 8, 9, 1000]) {
      await using emit = await emitter(session, ring, size);
      await emit.run(2);
      await using discard = await emitter(session, ring, size, 'discard');
      await discard.run(3);
    }
    await until('twelve records', () => lengths.length === 12);
    await events.close();
    t.same(lengths, [0, 0, 1, 1, 7, 7, 8, 8, 9, 9, 1000, 1000]);
  });

  t.test('a record that is not finished holds back those behind it', async (t) => {
    await using ring = await ringOf(session, 64 * 1024);
    await using busy = await outOfOrder(session, ring);
    const seen: { mark: bigint; finished: bigint; sent: bigint }[] = [];
    const codec = struct({ mark: u64, finished: u64 });
    const stream = await session.subscribe(
      { source: 'ring', map: ring.handle, sizeBytes: 64 * 1024 },
      {},
      ({ bytes, timeNs }) =>
        eachRingRecord(bytes, (record) => {
          const { mark, finished } = decodeValue(codec, record);
          seen.push({ mark, finished, sent: BigInt(timeNs) });
        }),
    );
    const rounds = 50;
    for (let i = 0; i < rounds; i++) await busy.testRun();
    await until('both records of each round', () => seen.length === 2 * rounds);
    await stream.close();
    t.same(
      seen.map(({ mark }) => mark),
      Array.from(seen, (_, at) => (at % 2 === 0 ? FIRST : SECOND)),
      'in the order in which they were reserved',
    );
    for (const [at, { finished, sent }] of seen.entries()) {
      const second = seen[at + 1];
      if (at % 2 !== 0 || second === undefined) continue;
      t.ok(second.finished < finished, 'the second of a pair was there long before');
      t.ok(sent >= finished, 'and was not sent before the first');
    }
    t.match(stream.statistics, { delivered: 2 * rounds, lostInTransit: 0, lagBytes: 0 });
  });

  t.test('two programs share a ring', async (t) => {
    await using ring = await ringOf(session, 256 * 1024);
    await using a = await emitter(session, ring, 16);
    await using b = await emitter(session, ring, 24);
    const lengths = new Map<number, number>();
    const events = ring.records();
    await events.consume(({ length }) => lengths.set(length, (lengths.get(length) ?? 0) + 1));
    await Promise.all([a.run(500), b.run(400), a.run(500)]);
    await until('1400 records', () => events.statistics.delivered === 1400);
    await events.close();
    t.same([...lengths].sort(), [
      [16, 1000],
      [24, 400],
    ]);
  });

  t.test(
    'a consumer that stands still holds nobody else up, and loses nothing it was sent',
    async (t) => {
      await using ring = await ringOf(session, 4096);
      await using other = await ringOf(session, 64 * 1024);
      await using emit = await emitter(session, ring, 56);
      await using lively = await emitter(session, other, 56);
      const seen: bigint[] = [];
      let resume = () => {};
      const stalled = new Promise<void>((resolve) => {
        resume = resolve;
      });
      const stream = await session.subscribe(
        { source: 'ring', map: ring.handle, sizeBytes: 4096 },
        { windowBytes: 1024 },
        async (batch) => {
          await stalled;
          const view = new DataView(batch.bytes.buffer, batch.bytes.byteOffset);
          for (let at = 8; at < batch.bytes.length; at += 64)
            seen.push(view.getBigUint64(at, true));
        },
      );
      const events = other.records();
      await events.consume(() => {});
      await emit.run(1000);
      await lively.run(500);
      await until('the other 500 records', () => events.statistics.delivered === 500);
      const { emitted, failed } = await emit.counts();
      t.ok(failed > 0n, `the program was refused ${failed} records, as by any full ring`);
      // The window, what one batch may hold more, and the ring itself.
      t.ok(emitted <= BigInt((4096 + 1024) / 64), `${emitted} records were taken`);
      await until('word of what waits', () => stream.statistics.lagBytes > 0);
      resume();
      await until('every record', () => seen.length === Number(emitted));
      t.same(
        seen,
        Array.from(seen, (_, at) => BigInt(at)),
      );
      t.equal(stream.statistics.delivered, Number(emitted));
      await Promise.all([stream.close(), events.close()]);
    },
  );

  t.test('iterating, with an end by signal or by leaving', async (t) => {
    await using ring = await ringOf(session, 64 * 1024);
    await using emit = await emitter(session, ring, 16);
    const abort = new AbortController();
    const events = ring.records({ codec: struct({ sequence: u64 }), signal: abort.signal });
    const seen: bigint[] = [];
    const { streams } = session.statistics;
    const emitting = (async () => {
      await until('the stream', () => session.statistics.streams === streams + 1);
      await emit.run(10);
    })();
    for await (const { sequence } of events) {
      seen.push(sequence);
      if (seen.length === 10) abort.abort();
    }
    await emitting;
    t.same(seen.length, 10);
    const again = (async () => {
      await until('the stream', () => session.statistics.streams === streams + 2);
      await emit.run(5);
    })();
    for await (const record of ring.records()) {
      t.equal(record.length, 16);
      break;
    }
    await again;
    const left = ring.records({ codec: struct({ sequence: u64 }) });
    const third = (async () => {
      await until('the stream', () => session.statistics.streams === streams + 3);
      await emit.run(10);
    })();
    let after = 0;
    for await (const _ of left) {
      after++;
      // The loop has what was read by then before it ends.
      if (after === 1) await left.close();
    }
    await third;
    t.ok(after >= 1 && after === left.statistics.delivered, `${after} records`);
    const events24 = ring.records({ codec: struct({ a: u64, b: u64, c: u64 }) });
    await events24.consume(() => {});
    await emit.run(1);
    await t.rejects(events24.ended, { code: 'ERR_CODEC_VALUE', message: /16 bytes.*24 bytes/ });
  });

  t.test('what cannot be streamed', async (t) => {
    await using ring = await ringOf(session, 4096);
    const origin = { source: 'ring', map: ring.handle, sizeBytes: 4096 } as const;
    const nothing = () => {};
    await t.rejects(session.subscribe({ ...origin, map: 9999 }, {}, nothing), {
      code: 'ERR_HANDLE_UNKNOWN',
    });
    await t.rejects(session.subscribe({ ...origin, sizeBytes: 5000 }, {}, nothing), {
      code: 'EINVAL',
    });
    await t.rejects(session.subscribe({ ...origin, sizeBytes: 8192 }, {}, nothing), {
      code: 'EINVAL',
      syscall: 'mmap',
    });
    await using array = await session.createMap({
      type: MapType.BPF_MAP_TYPE_ARRAY,
      key: u32,
      value: u32,
      maxEntries: 1,
    });
    // @ts-expect-error The compiler knows that an array has no records.
    t.throws(() => array.records(), { code: 'ERR_MAP_OPERATION' });
  });

  t.test('records that follow one another soon come together', async (t) => {
    const records = 20;
    // A smaller one could fill before the time is over, so that less is waited.
    const sizeBytes = 64 * 1024 * 1024;
    const batches = async (batchMicroseconds: number) => {
      await using ring = await ringOf(session, sizeBytes);
      await using emit = await emitter(session, ring, 16);
      await using events = ring.records({ batchMicroseconds });
      let seen = 0;
      await events.consume(() => seen++);
      for (let emitted = 1; emitted <= records; emitted++) {
        await emit.run(1);
        if (emitted === 1 || batchMicroseconds === 0) {
          await until(`record ${emitted}`, () => seen === emitted);
        }
      }
      await until('every record', () => seen === records);
      return events.statistics.batches;
    };
    t.equal(await batches(0), records);
    const together = await batches(1_000_000);
    t.ok(together < records, `${together} batches`);
  });

  t.test('a ring that is said to be smaller than it is ends its stream', async (t) => {
    await using ring = await ringOf(session, 64 * 1024);
    await using emit = await emitter(session, ring, 56);
    let resume = () => {};
    const stalled = new Promise<void>((resolve) => {
      resume = resolve;
    });
    const stream = await session.subscribe(
      { source: 'ring', map: ring.handle, sizeBytes: 4096 },
      { windowBytes: 1024 },
      () => stalled,
    );
    await emit.run(1);
    await until('the first record', () => stream.statistics.delivered === 1);
    await emit.run(1000);
    resume();
    await t.rejects(stream.ended, { code: 'EPROTO', side: 'guest' });
  });
});

t.test('perf buffers', { skip }, async (t) => {
  const session = await open(t);
  await using array = await arrayOf(session);
  await using emit = await emitter(session, array, 32, 'perf');
  const seen: bigint[] = [];
  const events = array.records({ codec: struct({ sequence: u64 }), pages: 1, windowBytes: 512 });
  await events.consume(({ sequence }) => seen.push(sequence));
  for (let i = 0; i < 20; i++) await emit.run(100);
  const { emitted, failed } = await emit.counts();
  await until('every record', () => seen.length >= Number(emitted));
  await events.close();
  t.equal(seen.length, Number(emitted));
  t.equal(Number(emitted + failed), 2000);
  t.equal(events.statistics.lost, Number(failed), 'every loss is counted, the last one included');
});

t.test('user ring buffers', { skip }, async (t) => {
  const session = await open(t);
  await using ring = await session.createMap({
    type: MapType.BPF_MAP_TYPE_USER_RINGBUF,
    maxEntries: 4096,
  });
  const record = (length: number, fill: number) => new Uint8Array(length).fill(fill);
  await ring.submit([record(8, 1), record(100, 2)]);
  await t.rejects(ring.submit([record(5000, 3)]), { code: 'E2BIG' });
  await t.rejects(
    ring.submit(
      Array.from({ length: 100 }, () => record(100, 4)),
      AbortSignal.timeout(50),
    ),
    { name: 'TimeoutError' },
    'it is full, and nobody drains it',
  );
  await using another = await session.createMap({
    type: MapType.BPF_MAP_TYPE_USER_RINGBUF,
    maxEntries: 4096,
  });
  await Promise.all([another.submit([record(8, 1)]), another.submit([record(8, 2)])]);
});

t.test('a program drains what the host writes', { skip }, async (t) => {
  const session = await open(t);
  await using ring = await session.createMap({
    type: MapType.BPF_MAP_TYPE_USER_RINGBUF,
    maxEntries: 4096,
  });
  await using drain = await drainOf(session, ring);
  // Many times what there is room for, of lengths that make records lie across the end.
  const records = Array.from({ length: 3000 }, (_, at) => {
    const record = new Uint8Array(8 + ((at * 7) % 60)).fill(0xff);
    new DataView(record.buffer).setBigUint64(0, BigInt(at) * 0x1_0000_0001n, true);
    return record;
  });
  const sum = records.reduce(
    (sum, { buffer }) => sum + new DataView(buffer).getBigUint64(0, true),
    0n,
  );
  let written = false;
  const writing = ring.submit(records).finally(() => {
    written = true;
  });
  await until('room for all records', async () => {
    await drain.run();
    return written;
  });
  await writing;
  await drain.run();
  t.same(await drain.totals(), { sum, count: BigInt(records.length) });
  // Too short for what the program reads: it is taken, and counts for nothing.
  await ring.submit([new Uint8Array(7).fill(1)]);
  await drain.run();
  t.same(await drain.totals(), { sum, count: BigInt(records.length) });
});

t.test('files', { skip }, async (t) => {
  const session = await open(t);
  const file = await session.open('/proc/kallsyms');
  let text = '';
  const stream = await session.subscribe(
    { source: 'file', file },
    { windowBytes: 64 * 1024, batchBytes: 16 * 1024 },
    (batch) => {
      text += Buffer.from(batch.bytes).toString('latin1');
    },
  );
  await stream.ended;
  t.match(text, /^[0-9a-f]{16} .* /);
  t.equal(text.length, stream.statistics.bytes);
  t.ok(text.endsWith('\n'));
});

/** An agent of its own, behind connections that can be cut. */
async function relayedAgent(t: Test): Promise<{ local: LocalAgent; relay: Relay }> {
  const local = await localAgent();
  t.teardown(() => local.close());
  const relay = await relayTo(local.address);
  t.teardown(() => relay.close());
  return { local, relay };
}

t.test('a connection that is lost is made again, and counts stay exact', { skip }, async (t) => {
  const { relay } = await relayedAgent(t);
  await using session = await Session.connect(relay.address);
  await using ring = await ringOf(session, 64 * 1024);
  await using emit = await emitter(session, ring, 16);
  const events = ring.records();
  let seen = 0;
  await events.consume(() => {
    seen++;
  });
  await emit.run(100);
  await until('100 records', () => seen === 100);
  relay.cut(1);
  await emit.run(100);
  await until('another connection', () => events.statistics.resumed === 1);
  await emit.run(100);
  await until('all 300, seen or lost', () => seen + events.statistics.lostInTransit === 300);
  await events.close();
  t.match(events.statistics, { delivered: seen, resumed: 1 });
});

t.test('a stream that cannot go on ends alone', { skip }, async (t) => {
  const { relay } = await relayedAgent(t);
  await using session = await Session.connect(relay.address);
  await using ring = await ringOf(session, 4096);
  const gone = await ringOf(session, 4096);
  const [good, bad] = [ring.records(), gone.records()];
  await good.consume(() => {});
  await bad.consume(() => {});
  // The stream keeps the ring until it has to begin once more.
  await gone.close();
  relay.cut(1);
  await t.rejects(bad.ended, { code: 'ERR_HANDLE_UNKNOWN' });
  for (const connection of [2, 3]) {
    await until('another connection', () => good.statistics.resumed === connection - 1);
    relay.cut(connection);
  }
  await until('the last connection', () => good.statistics.resumed === 3);
  await using emit = await emitter(session, ring, 16);
  await emit.run(1);
  await until('a record', () => good.statistics.delivered === 1);
});

t.test('what was lost before anything arrived is counted', { skip }, async (t) => {
  const { relay } = await relayedAgent(t);
  await using session = await Session.connect(relay.address);
  await using ring = await ringOf(session, 64 * 1024);
  await using emit = await emitter(session, ring, 16);
  const events = ring.records();
  await events.consume(() => {});
  const heldBytes = relay.hold(1);
  await emit.run(100);
  await until('all records, from the agent', () => heldBytes() >= 100 * RECORD_BYTES);
  relay.cut(1);
  await until('another connection', () => events.statistics.resumed === 1);
  await emit.run(1);
  await until('a record', () => events.statistics.delivered > 0);
  await events.close();
  t.match(events.statistics, { delivered: 1, lostInTransit: 100 });
});

for (const how of ['submit', 'perf'] as const) {
  const name = how === 'perf' ? 'perf buffers' : 'a ring buffer';
  t.test(`${name}: what was under way counts when others needed the room`, { skip }, async (t) => {
    const rules = compile(profiles.full, kernelNames());
    const local = await localAgent({
      rules: { ...rules, limits: { ...rules.limits, maxStreams: 1 } },
    });
    t.teardown(() => local.close());
    const relay = await relayTo(local.address);
    t.teardown(() => relay.close());
    await using session = await Session.connect(relay.address);
    await using map = how === 'perf' ? await arrayOf(session) : await ringOf(session, 64 * 1024);
    await using other = await ringOf(session, 4096);
    await using emit = await emitter(session, map, 16, how);
    // The rest stays in the buffer, which a ring keeps and a perf event does not.
    const events = map.records({ windowBytes: WINDOW_BYTES });
    await events.consume(() => {});
    await emit.run(100, 0);
    await until('100 records', () => events.statistics.delivered === 100);
    const heldBytes = relay.hold(1);
    await emit.run(200, 0);
    await until('some records, from the agent', () => heldBytes() > WINDOW_BYTES / 2);
    relay.cut(1);
    // As soon as the loss is known, and before the stream itself can go on.
    const origin = { source: 'ring', map: other.handle, sizeBytes: 4096 } as const;
    const usurp = () => session.subscribe(origin, {}, () => {}).catch(() => undefined);
    const usurper = await until('the room of the stream', usurp, { everyMs: 0 });
    t.equal(events.statistics.resumed, 0);
    await usurper.close();
    await until('another connection', () => events.statistics.resumed === 1);
    await emit.run(1, 0);
    const counted = () => events.statistics.delivered + events.statistics.lostInTransit;
    await until('301 records, delivered or lost', () => counted() >= 301);
    await events.close();
    t.equal(counted(), 301);
    const { lostInTransit } = events.statistics;
    if (how === 'perf') t.equal(lostInTransit, 200);
    else t.ok(lostInTransit > 0 && lostInTransit < 200, `${lostInTransit} lost`);
  });
}

t.test('the clock', { skip }, async (t) => {
  const session = await open(t);
  const clock = await session.readClock();
  await using ring = await ringOf(session, 64 * 1024);
  await using emit = await emitter(session, ring, 16, 'time');
  const stamps: { ktime: bigint; receivedMs: number }[] = [];
  const before = performance.now();
  const stream = await session.subscribe(
    { source: 'ring', map: ring.handle, sizeBytes: 64 * 1024 },
    {},
    ({ bytes, receivedMs }) => {
      stamps.push({
        ktime: new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(8, true),
        receivedMs,
      });
    },
  );
  await emit.run(1);
  await until('a stamp', () => stamps.length === 1);
  const after = performance.now();
  await session.readClock();
  await stream.close();
  const [{ ktime = 0n, receivedMs = 0 } = {}] = stamps;
  const { hostMs, errorMs } = clock.place(ktime, receivedMs);
  t.ok(
    hostMs + errorMs >= before && hostMs - errorMs <= after,
    `${hostMs} ± ${errorMs} ms in ${before}…${after}`,
  );
  // Both clocks are this machine's: the true answer lies between two readings of one of them.
  const stampMs = Number(ktime) / 1e6 - Number(process.hrtime.bigint()) / 1e6;
  const nowMs = performance.now();
  const laterStampMs = Number(ktime) / 1e6 - Number(process.hrtime.bigint()) / 1e6;
  t.ok(
    nowMs + laterStampMs <= hostMs + errorMs && nowMs + stampMs >= hostMs - errorMs,
    'the bound holds',
  );
});

t.test(
  'records beyond the rate that the owner allows are dropped, and counted',
  { skip },
  async (t) => {
    const quotas = { ...profiles.full.quotas, events_per_second: 100 };
    const rules = compile({ ...profiles.full, quotas }, kernelNames());
    const local = await localAgent({
      rules: { ...rules, limits: { ...rules.limits, maxStreams: 1 } },
    });
    t.teardown(() => local.close());
    await using session = await Session.connect(local.address);
    t.equal(session.limits.maxEventsPerSecond, 100, 'the host is told');
    await using ring = await ringOf(session, 64 * 1024);
    await using emit = await emitter(session, ring, 16);
    const sent: { atMs: number; records: number }[] = [];
    const origin = { source: 'ring', map: ring.handle, sizeBytes: ring.spec.maxEntries } as const;
    const events = await session.subscribe(origin, {}, ({ timeNs, records }) => {
      sent.push({ atMs: timeNs / 1e6, records });
    });
    const beginMs = performance.now();
    // At any time within a second, and more at once than there may be.
    while (performance.now() - beginMs < 2500 || events.statistics.delivered < 200) {
      await emit.run(70);
    }
    const { emitted } = await emit.counts();
    await until('all, delivered or dropped', () => {
      const { delivered, dropped } = events.statistics;
      return delivered + dropped === Number(emitted);
    });
    const seconds = 1 + Math.floor((performance.now() - beginMs) / 1000);
    const { delivered } = events.statistics;
    t.ok(delivered <= 100 * seconds, `${delivered} delivered in ${seconds} seconds`);
    // A batch may be sent a while after it has been allowed.
    const within = (fromMs: number) =>
      sent.reduce((sum, { atMs, records }) => {
        const counts = atMs >= fromMs && atMs < fromMs + 500;
        return counts ? sum + records : sum;
      }, 0);
    t.equal(Math.max(...sent.map(({ atMs }) => within(atMs))), 100, 'no half of one has more');
    const another = ring.records();
    await t.rejects(
      another.consume(() => {}),
      { code: 'ERR_STREAM_LIMIT', message: /1 streams/ },
    );
    await events.close();
  },
);

t.test('records within the rate that the owner allows all arrive', { skip }, async (t) => {
  const quotas = { ...profiles.full.quotas, events_per_second: 100_000 };
  const local = await localAgent({
    rules: compile({ ...profiles.full, quotas }, kernelNames()),
  });
  t.teardown(() => local.close());
  await using session = await Session.connect(local.address);
  await using ring = await ringOf(session, 64 * 1024);
  await using emit = await emitter(session, ring, 16);
  const events = ring.records();
  await events.consume(() => {});
  for (let i = 0; i < 10; i++) await emit.run(100);
  await until('1000 records', () => events.statistics.delivered === 1000);
  await events.close();
  t.match(events.statistics, { delivered: 1000, dropped: 0, lost: 0 });
});

t.test(
  'a session over a stream of its caller needs another one for events',
  { skip },
  async (t) => {
    const local = await localAgent();
    t.teardown(() => local.close());
    const another = () => connect(local.address);
    await using alone = await Session.connect(await another());
    await using mute = await ringOf(alone, 4096);
    await t.rejects(
      mute.records().consume(() => {}),
      { code: 'ERR_OPTION_INVALID', message: /reconnect.*for events/ },
    );
    await using session = await Session.connect(await another(), { reconnect: another });
    await using ring = await ringOf(session, 4096);
    await using emit = await emitter(session, ring, 16);
    const events = ring.records();
    await events.consume(() => {});
    await emit.run(5);
    await until('five records', () => events.statistics.delivered === 5);
    await events.close();
  },
);

t.test('a host that dies leaves nothing behind', { skip }, async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  const ring = await ringOf(session, 4096);
  const emit = await emitter(session, ring, 16);
  const events = ring.records();
  await events.consume(() => {});
  await emit.run(10);
  await until('ten records', () => events.statistics.delivered === 10);
  session.close();
  await t.rejects(events.ended, { code: 'ERR_SESSION_CLOSED' });
  await until("the executor's end", () => local.agent.executorPids.length === 0);
  await t.rejects(
    ring.records().consume(() => {}),
    { code: 'ERR_SESSION_CLOSED' },
  );
});

t.test('a host that reads nothing at all costs the agent no memory', { skip }, async (t) => {
  const { local, relay } = await relayedAgent(t);
  await using session = await Session.connect(relay.address);
  await using ring = await ringOf(session, 1024 * 1024);
  await using emit = await emitter(session, ring, 1000);
  const events = ring.records({ windowBytes: 64 * 1024 * 1024 });
  let seen = 0;
  await events.consume(() => {
    seen++;
  });
  const [pid] = local.agent.executorPids;
  // What status says of it can be off by megabytes where there are many CPUs.
  const anonymousKib = () =>
    Number(/^Anonymous:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1]);
  relay.pause(1, true);
  await emit.run(100);
  const before = anonymousKib();
  for (let i = 0; i < 20; i++) await emit.run(1000);
  const { emitted, failed } = await emit.counts();
  t.ok(failed > 0n, `the ring is full: ${failed} records were refused`);
  t.ok(anonymousKib() - before < 2048, `${anonymousKib() - before} KiB more`);
  relay.pause(1, false);
  await until('every record', () => seen === Number(emitted));
  await events.close();
  t.equal(events.statistics.lostInTransit, 0);
});
