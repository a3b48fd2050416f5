import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { enums, Session } from '../../src/index.js';
import { localAgent } from '../agent/local-agent.js';
import { session as open, skip } from '../kernel/local-session.js';
import { until } from '../until.js';
import { emitter } from './emitter.js';
import { arrayOf } from './maps.js';

const { MapType, ObjectFlag } = enums;
const PAGE = 4096;
/** How long it is watched that next to nothing is computed. */
const WATCHED_MS = 1000;
const PERF_TYPE_SOFTWARE = 1;
const PERF_SAMPLE_RAW = 1 << 10;
const BPF_OUTPUT = 10;
const WRITE_BACKWARD = 1n << 27n;

/** An array that can be mapped, and passes for a ring of a page by what it holds. */
async function posing(session: Session, consumer: bigint, producer: bigint, header: number) {
  const map = await session.createMap({
    type: MapType.BPF_MAP_TYPE_ARRAY,
    keySize: 4,
    valueSize: 4 * PAGE,
    maxEntries: 1,
    flags: ObjectFlag.BPF_F_MMAPABLE,
  });
  const value = Buffer.alloc(4 * PAGE);
  value.writeBigUInt64LE(consumer);
  value.writeBigUInt64LE(producer, PAGE);
  for (const copy of [2, 3]) value.writeUInt32LE(header, copy * PAGE + (Number(consumer) % PAGE));
  await map.update(new Uint8Array(4), value);
  return map;
}

t.test('a map that poses as a ring shows nothing but what it holds', { skip }, async (t) => {
  const session = await open(t);
  const follow = async (consumer: bigint, producer: bigint, header: number) => {
    await using map = await posing(session, consumer, producer, header);
    let bytes = 0;
    const stream = await session.subscribe(
      { source: 'ring', map: map.handle, sizeBytes: PAGE },
      {},
      (batch) => {
        bytes += batch.bytes.length;
      },
    );
    await until('what the map holds', () => bytes > 0);
    await stream.close();
    return bytes;
  };
  t.equal(await follow(0n, 24n, 16), 24, 'a record, as in a ring');
  t.equal(await follow(BigInt(PAGE) * 5n + 4080n, BigInt(PAGE) * 6n + 8n, 16), 24, 'at its end');
  const torn = { code: 'EPROTO', side: 'guest' } as const;
  const cases = [
    ['a record that is longer than what was written', 0n, 64n, 4000],
    ['a record that is longer than the ring', 0n, 4096n, 0x3fff_ffff],
    ['more than there is room for', 0n, 1n << 40n, 16],
    ['a reader that is ahead of the writer', 1n << 40n, 64n, 16],
  ] as const;
  for (const [name, consumer, producer, header] of cases) {
    await using map = await posing(session, consumer, producer, header);
    const origin = { source: 'ring', map: map.handle, sizeBytes: PAGE } as const;
    const stream = await session.subscribe(origin, {}, () => {});
    await t.rejects(stream.ended, torn, name);
  }
  await using askew = await posing(session, 4092n, 8192n, 16);
  await t.rejects(
    session.subscribe({ source: 'ring', map: askew.handle, sizeBytes: PAGE }, {}, () => {}),
    { code: 'EINVAL' },
    'a record that begins anywhere',
  );
});

t.test('a buffer that is written backwards ends its stream', { skip }, async (t) => {
  const session = await open(t);
  await using array = await arrayOf(session);
  await using emit = await emitter(session, array, 32, 'perf');
  const event = await session.openPerfEvent({
    type: PERF_TYPE_SOFTWARE,
    config: BPF_OUTPUT,
    sampleType: PERF_SAMPLE_RAW,
    samplePeriod: 1,
    wakeupEvents: 1,
    flags: WRITE_BACKWARD,
    cpu: 0,
  });
  const origin = { source: 'perf', events: [event.handle], pages: 1 } as const;
  const stream = await session.subscribe(origin, {}, () => {});
  await array.update(new Uint8Array(4), new Uint8Array(Uint32Array.of(event.handle).buffer));
  await emit.run(10, 0);
  await t.rejects(stream.ended, { code: 'EPROTO', side: 'guest' });
});

t.test('what nothing can be waited for is not waited for without a pause', { skip }, async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  await using session = await Session.connect(local.address);
  const [pid] = local.agent.executorPids;
  /** The time that the executor has computed, in ticks of 10 ms. */
  const ticks = () => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(' ');
    return Number(fields[13]) + Number(fields[14]);
  };
  const idles = async (what: string) => {
    const [before, startMs] = [ticks(), performance.now()];
    await sleep(WATCHED_MS);
    const [busyMs, watchedMs] = [10 * (ticks() - before), performance.now() - startMs];
    t.ok(busyMs < watchedMs / 10, `${what}: ${busyMs} of ${watchedMs} ms`);
  };
  const child = spawn('sleep', ['1000']);
  t.teardown(() => child.kill('SIGKILL'));
  const event = await session.openPerfEvent({
    type: PERF_TYPE_SOFTWARE,
    pid: child.pid as number,
    samplePeriod: 1_000_000,
    sampleType: PERF_SAMPLE_RAW,
  });
  const origin = { source: 'perf', events: [event.handle], pages: 1 } as const;
  const ofProcess = await session.subscribe(origin, {}, () => {});
  child.kill('SIGKILL');
  await once(child, 'exit');
  await idles('the perf event of a process that has ended');
  await ofProcess.close();
  await using empty = await posing(session, 0n, 0n, 0);
  const ring = { source: 'ring', map: empty.handle, sizeBytes: PAGE } as const;
  const ofArray = await session.subscribe(ring, {}, () => {});
  await idles('a map that is no ring');
  await ofArray.close();
});
