import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { boot } from '../../guest/index.js';
import { Session, struct, u64 } from '../../src/index.js';
import { emitter, until } from '../events/emitter.js';
import { arrayOf, ringOf } from '../events/maps.js';

const cli = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const CPUS = 4;
const MILLION = 1_000_000;
const PER_RUN = 1000;
const PAUSE_MS = 10_000;

t.setTimeout(240_000);

t.test('events of a guest with four CPUs', async (t) => {
  await using guest = await boot({
    cpus: CPUS,
    lab: true,
    agent: { profile: 'full' },
    notice: () => {},
  });
  await using session = await Session.connect(guest.vsock());
  await session.readClock();

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
    await until(() => events.statistics.delivered + events.statistics.lostInTransit >= emitted);
    const elapsedMs = performance.now() - startMs;
    await events.close();
    const { delivered } = events.statistics;
    t.equal(disorder, 0);
    t.equal(Number(emitted + failed), MILLION);
    t.equal(delivered, Number(emitted));
    t.comment(`${delivered} delivered, ${failed} refused by the ring, ${elapsedMs.toFixed(0)} ms`);
  });

  t.test('perf buffers of every CPU, with every loss counted', async (t) => {
    await using array = await arrayOf(session);
    await using emit = await emitter(session, array, 32, 'perf');
    const perCpu = new Map<bigint, number>();
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
      const { delivered, lost } = events.statistics;
      await emit.run(PER_RUN, cpu);
      perCpu.set(BigInt(cpu), delivered + lost);
      const { emitted } = await emit.counts();
      await until(() => events.statistics.delivered === Number(emitted));
    }
    const { emitted, failed } = await emit.counts();
    await events.close();
    t.equal(disorder, 0);
    t.equal(Number(emitted + failed), CPUS * PER_RUN);
    t.match(events.statistics, { delivered: Number(emitted), lost: Number(failed) });
    t.equal(perCpu.size, CPUS);
  });

  t.test('stamps keep their place when the guest stands still', async (t) => {
    await using ring = await ringOf(session, 64 * 1024);
    await using emit = await emitter(session, ring, 16, 'time');
    const stamps: { ktime: bigint; receivedMs: number }[] = [];
    const stream = await session.subscribe(
      { source: 'ring', map: ring.handle, sizeBytes: 64 * 1024 },
      {},
      ({ bytes, receivedMs }) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset);
        stamps.push({ ktime: view.getBigUint64(8, true), receivedMs });
      },
    );
    const emitted: { afterMs: number; beforeMs: number }[] = [];
    const emitOne = async () => {
      const clock = await session.readClock();
      const afterMs = performance.now();
      await emit.run(1);
      emitted.push({ afterMs, beforeMs: performance.now() });
      await session.readClock();
      return clock;
    };
    await emitOne();
    await guest.qmp('stop');
    await sleep(PAUSE_MS);
    await guest.qmp('cont');
    const clock = await emitOne();
    await until(() => stamps.length === 2);
    await stream.close();
    for (const [at, { afterMs, beforeMs }] of emitted.entries()) {
      const { ktime = 0n, receivedMs = 0 } = stamps[at] ?? {};
      const { hostMs, errorMs } = clock.place(ktime, receivedMs);
      const where = `${hostMs.toFixed(2)} ± ${errorMs.toFixed(2)} ms`;
      t.ok(errorMs < 1000, `${where} is of use`);
      t.ok(hostMs + errorMs >= afterMs && hostMs - errorMs <= beforeMs, `${where} holds`);
    }
  });

  t.test('the command line follows a map and the log', async (t) => {
    await using ring = await ringOf(session, 64 * 1024);
    await using emit = await emitter(session, ring, 16);
    const { id } = await ring.info();
    const follow = (...args: string[]) =>
      spawn(process.execPath, [cli, ...args, '--vm', guest.vsock()], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    const stream = follow('stream', String(id), '--count', '3');
    const lines = createInterface({ input: stream.stdout });
    const read: string[] = [];
    lines.on('line', (line) => read.push(line));
    let notes = '';
    stream.stderr.on('data', (chunk) => {
      notes += chunk;
    });
    const ended = once(stream, 'close');
    for (let running = true; running; ) {
      running = await Promise.race([ended.then(() => false), sleep(200).then(() => true)]);
      if (running) await emit.run(3);
    }
    t.equal(stream.exitCode, 0, notes);
    t.equal(read.length, 3);
    t.match(JSON.parse(read[0] ?? ''), { bytes: /^[0-9a-f]{32}$/ });
    t.match(notes, /records, none lost/);

    const trace = follow('trace');
    let log = '';
    trace.stdout.on('data', (chunk) => {
      log += chunk;
    });
    while (!log.includes('heard by the host')) {
      await guest.sh('echo heard by the host > /sys/kernel/tracing/trace_marker');
      await sleep(100);
    }
    trace.kill('SIGINT');
    const [status] = await once(trace, 'close');
    t.equal(status, 0);
  });

  t.test('tracepoints and the trace log', async (t) => {
    const file = await session.open('/sys/kernel/tracing/trace_pipe');
    let text = '';
    const stream = await session.subscribe({ source: 'file', file }, {}, ({ bytes }) => {
      text += Buffer.from(bytes).toString('latin1');
    });
    await guest.sh('echo from the guest > /sys/kernel/tracing/trace_marker');
    await until(() => text.includes('from the guest'));
    await stream.close();
    await using ring = await ringOf(session, 64 * 1024);
    await using onExec = await emitter(session, ring, 16, 'tracepoint');
    const attached = await onExec.program.attachTracepoint('sched/sched_process_exec');
    const events = ring.records();
    await events.consume(() => {});
    await guest.sh('true; /bin/true');
    await until(() => events.statistics.delivered > 0);
    await attached.close();
    await events.close();
    t.pass('a program runs at a tracepoint of the guest and is heard of here');
  });
});
