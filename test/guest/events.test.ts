import t from 'tap';
import { boot } from '../../guest/index.js';
import { Session, struct, u64 } from '../../src/index.js';
import { FIRST, outOfOrder, SECOND } from '../events/busy.js';
import { emitter } from '../events/emitter.js';
import { arrayOf, ringOf } from '../events/maps.js';
import { patient, until } from '../until.js';

const CPUS = 4;
const MILLION = 1_000_000;
const PER_RUN = 1000;
/** Records of 32 bytes that four pages of a perf buffer have room for, with their headers. */
const ROOM = 300;

t.test('events of a guest with four CPUs', async (t) => {
  const guest = await boot({
    cpus: CPUS,
    exec: true,
    agent: { profile: 'full' },
    notice: () => {},
  });
  t.teardown(() => guest.stop());
  const session = await Session.connect(guest.vsock(), patient);
  t.teardown(() => session.close());
  t.test('a million records arrive in order and whole, or are counted as lost', async (t) => {
    await using ring = await ringOf(session, 1024 * 1024);
    await using emit = await emitter(session, ring, 16);
    const events = ring.records({ codec: struct({ sequence: u64, attempt: u64 }) });
    let next = 0n;
    let disorder = 0;
    await events.consume(({ sequence, attempt }) => {
      if (sequence !== next || attempt >= PER_RUN) disorder++;
      next = sequence + 1n;
    });
    const startMs = performance.now();
    for (let i = 0; i < MILLION; i += PER_RUN) await emit.run(PER_RUN);
    const { emitted, failed } = await emit.counts();
    const counted = () => events.statistics.delivered + events.statistics.lostInTransit;
    await until('every record', () => counted() >= emitted);
    const elapsedMs = performance.now() - startMs;
    await events.close();
    const { delivered } = events.statistics;
    t.equal(disorder, 0);
    t.equal(Number(emitted + failed), MILLION);
    t.equal(delivered, Number(emitted));
    t.comment(`${delivered} delivered, ${failed} refused by the ring, ${elapsedMs.toFixed(0)} ms`);
  });

  t.test('records that are finished out of order arrive in theirs', async (t) => {
    await using ring = await ringOf(session, 4096);
    await using busy = await outOfOrder(session, ring);
    const marks: bigint[] = [];
    const events = ring.records({ codec: struct({ mark: u64 }) });
    await events.consume(({ mark }) => marks.push(mark));
    const rounds = 25 * CPUS;
    for (let i = 0; i < rounds; i++) await busy.testRun({ cpu: i % CPUS });
    await until('both records of each round', () => marks.length === 2 * rounds);
    await events.close();
    t.same(
      marks,
      Array.from(marks, (_, at) => (at % 2 === 0 ? FIRST : SECOND)),
    );
    t.match(events.statistics, { delivered: 2 * rounds, lost: 0, lostInTransit: 0 });
  });

  t.test('perf buffers of every CPU, with every loss counted', async (t) => {
    await using array = await arrayOf(session);
    await using emit = await emitter(session, array, 32, 'perf');
    let last = -1n;
    let disorder = 0;
    const events = array.records({
      codec: struct({ sequence: u64, attempt: u64 }),
      pages: 4,
      windowBytes: 64 * 1024,
    });
    await events.consume(({ sequence }) => {
      if (sequence <= last) disorder++;
      last = sequence;
    });
    for (let cpu = 0; cpu < CPUS; cpu++) {
      last = -1n;
      const before = events.statistics.delivered;
      await emit.run(PER_RUN, cpu);
      const { emitted } = await emit.counts();
      await until('every record', () => events.statistics.delivered === Number(emitted));
      // As many as a buffer of four pages has room for, and a window besides, at least.
      t.ok(events.statistics.delivered - before >= ROOM, `those of CPU ${cpu} arrive`);
    }
    const { emitted, failed } = await emit.counts();
    await events.close();
    t.equal(disorder, 0);
    t.equal(Number(emitted + failed), CPUS * PER_RUN);
    t.match(events.statistics, { delivered: Number(emitted), lost: Number(failed) });
  });
});
