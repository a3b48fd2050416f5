import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { instructions as hello, tracepoint } from '../../cli/hello-program.js';
import { boot, type Guest } from '../../guest/index.js';
import { enums, Session, struct, u64 } from '../../src/index.js';
import { drainOf } from '../events/drain.js';
import { emitter } from '../events/emitter.js';
import { ringOf } from '../events/maps.js';
import { relayTo } from '../events/relay.js';
import { cli } from '../run/application.js';
import { shellCommand } from '../shell.js';
import { patient, until } from '../until.js';

const { MapType, ProgType } = enums;
/** Of an agent whose policy allows few events. */
const STRICT_PORT = 1101;
const STRICT_RATE = 500;
const RECORD_BYTES = 16;
/** The records of {@link emitter}, by a type of the guest's kernel that has the same two words. */
const TYPE = 'struct timespec64';

/** A program that runs, and what it has printed so far. */
interface Running {
  child: ChildProcess;
  out: () => string;
  err: () => string;
  /** Its lines on standard output that are whole. */
  lines: () => string[];
  ended: Promise<number | null>;
}

function start(t: Test, program: string, ...args: string[]): Running {
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1' },
  });
  t.teardown(() => child.kill('SIGKILL'));
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const ended = once(child, 'close').then(([status]) => status as number | null);
  return {
    child,
    out: () => out,
    err: () => err,
    lines: () => out.split('\n').slice(0, -1),
    ended,
  };
}

const waep = (t: Test, ...args: string[]) => start(t, process.execPath, cli, ...args);

/** What the executors in the guest have of memory of their own, in KiB. */
async function agentKib(guest: Guest): Promise<number> {
  const script = 'for pid in $(pidof waep-executor); do cat /proc/$pid/smaps_rollup; done';
  const text = await guest.sh(script);
  return [...text.matchAll(/^Anonymous:\s+(\d+)/gm)].reduce((sum, [, kib]) => sum + Number(kib), 0);
}

/** Starts an agent with a policy of its own. */
async function strictAgent(t: Test, guest: Guest): Promise<string> {
  const policy = `profile: full\nname: strict\nquotas: { events_per_second: ${STRICT_RATE} }\n`;
  await guest.writeFile('/tmp/strict.yaml', policy);
  const listen = ['--listen', `tcp:0.0.0.0:${STRICT_PORT}`, '--insecure-tcp'];
  const agent = await guest.spawn(
    ['node', '/usr/lib/waep/agent.cjs', ...listen, '--policy', '/tmp/strict.yaml'],
    { env: { WAEP_NATIVE_DIR: '/usr/lib/waep' } },
  );
  t.teardown(() => agent.destroy());
  agent.ended.catch(() => {});
  await once(agent.stdout, 'data');
  return guest.tcp(STRICT_PORT);
}

t.test('events, followed from the host', async (t) => {
  const guest = await boot({
    cpus: 2,
    exec: true,
    network: 'user',
    vsock: 'none',
    ports: [STRICT_PORT],
    agent: { tcp: 'anybody', profile: 'full' },
    notice: () => {},
  });
  t.teardown(() => guest.stop());
  const address = guest.tcp();
  const session = await Session.connect(address, patient);
  t.teardown(() => session.close());
  const named = (name: string, maxEntries = 64 * 1024) =>
    session.createMap({ type: MapType.BPF_MAP_TYPE_RINGBUF, maxEntries, name });

  await t.test('waep trace follows the log, and ends by Ctrl-C', async (t) => {
    await using program = await session.loadProgram({
      type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      instructions: hello,
      license: 'GPL',
    });
    const link = await program.attachRawTracepoint(tracepoint);
    const trace = waep(t, 'trace', '--vm', address);
    const greetings = () => trace.lines().filter((line) => /: Hello World!$/.test(line)).length;
    const ready = `following the log of Linux ${session.kernel.release}`;
    await until(`"${ready}"`, () => trace.err().includes(ready));
    const before = greetings();
    await guest.sh('/bin/busybox true; /bin/busybox true; /bin/busybox true');
    await until('four greetings', () => greetings() >= before + 4);
    await link.close();
    await guest.sh('/bin/busybox true; echo detached > /sys/kernel/tracing/trace_marker');
    // The log has an order: what came before this line is there by then.
    await until('the line behind the greetings', () => / detached$/m.test(trace.out()));
    const attached = greetings();
    await guest.sh('/bin/busybox true; echo the end > /sys/kernel/tracing/trace_marker');
    await until('the last line', () => / the end$/m.test(trace.out()));
    trace.child.kill('SIGINT');
    t.equal(await trace.ended, 0);
    t.equal(greetings(), attached, 'nothing once it is detached');
  });

  await t.test('waep stream prints a JSON object a line', async (t) => {
    await using ring = await named('followed');
    await using emit = await emitter(session, ring, RECORD_BYTES);
    await emit.run(5);
    const words = waep(t, 'stream', 'followed', '--vm', address, '--type', TYPE, '--count', '5');
    t.equal(await words.ended, 0, words.err());
    t.same(
      words.lines().map((line) => JSON.parse(line)),
      Array.from({ length: 5 }, (_, at) => ({ tv_sec: `${at}`, tv_nsec: `${at}` })),
    );
    t.match(words.err(), /^5 records, none lost, 0 bytes waiting$/m);
    const { id } = await ring.info();
    const bytes = waep(t, 'stream', `${id}`, '--vm', address, '--count', '1');
    await emit.run(1);
    t.equal(await bytes.ended, 0, bytes.err());
    t.same(JSON.parse(bytes.out()), { bytes: '0500000000000000'.padEnd(32, '0') });
    const none = waep(t, 'stream', 'no_such_map', '--vm', address);
    t.equal(await none.ended, 1);
    t.match(none.err(), /no_such_map.*id, name or path/);
  });

  await t.test('waep stream prints a table, and on a terminal a line that stays', async (t) => {
    await using ring = await named('tabled');
    await using emit = await emitter(session, ring, RECORD_BYTES);
    await emit.run(3);
    const table = ['--format', 'table', '--type', TYPE, '--count', '3'];
    const columns = waep(t, 'stream', 'tabled', '--vm', address, ...table);
    t.equal(await columns.ended, 0, columns.err());
    t.same(columns.lines(), [
      'tv_sec  tv_nsec',
      ...['0', '1', '2'].map((n) => `${n.padEnd(8)}${n}`),
    ]);
    const command = [process.execPath, cli, 'stream', 'tabled', '--vm', address, '--count', '200'];
    const terminal = start(t, 'script', '-qec', shellCommand(command), '/dev/null');
    await emit.run(100);
    const shown = () => terminal.out().replaceAll('\x1b[K', '<clear>');
    const hundred = /\r<clear>100 records, none lost, \d+ bytes waiting/;
    await until('the line of 100 records', () => hundred.test(shown()));
    await emit.run(100);
    t.equal(await terminal.ended, 0);
    t.match(shown(), /\r<clear>200 records, none lost, 0 bytes waiting\r\n/);
  });

  await t.test('waep stream shows what the policy drops, while it goes on', async (t) => {
    const strict = await strictAgent(t, guest);
    await using owner = await Session.connect(strict, patient);
    t.match(owner, { profile: 'strict', limits: { maxEventsPerSecond: STRICT_RATE } });
    await using ring = await owner.createMap({
      type: MapType.BPF_MAP_TYPE_RINGBUF,
      maxEntries: 256 * 1024,
      name: 'bounded',
    });
    await using emit = await emitter(owner, ring, RECORD_BYTES);
    const stream = waep(t, 'stream', 'bounded', '--vm', strict);
    const told = async () => {
      await emit.run(1000);
      return /\d+ dropped by policy/.test(stream.err());
    };
    await until('word of what the policy drops', told, { everyMs: 100 });
    const { emitted } = await emit.counts();
    const lastLine = () => stream.err().trim().split('\n').at(-1) ?? '';
    const counted = () => {
      const [, delivered, dropped] =
        /^(\d+) records, (\d+) dropped by policy, 0 bytes waiting$/.exec(lastLine()) ?? [];
      return Number(delivered) + Number(dropped) === Number(emitted);
    };
    await until('a line in which all are accounted for', counted);
    stream.child.kill('SIGINT');
    t.equal(await stream.ended, 0);
    const last = lastLine();
    const [delivered] = /^\d+/.exec(last) ?? [];
    t.equal(stream.lines().length, Number(delivered), last);
    t.ok(counted(), last);
  });

  await t.test('a host that stalls holds up nothing but its stream', async (t) => {
    const ringBytes = 256 * 1024;
    const windowBytes = 64 * 1024;
    const recordBytes = 1000;
    const perRecord = recordBytes + 8;
    await using ring = await ringOf(session, ringBytes);
    await using lively = await ringOf(session, 64 * 1024);
    await using flood = await emitter(session, ring, recordBytes);
    await using trickle = await emitter(session, lively, RECORD_BYTES);
    let resume = () => {};
    const stalled = new Promise<void>((resolve) => {
      resume = resolve;
    });
    const sequences: bigint[] = [];
    const stream = await session.subscribe(
      { source: 'ring', map: ring.handle, sizeBytes: ringBytes },
      { windowBytes, batchBytes: 16 * 1024 },
      async ({ bytes }) => {
        await stalled;
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        for (let at = 8; at < bytes.length; at += perRecord) {
          sequences.push(view.getBigUint64(at, true));
        }
      },
    );
    const events = lively.records();
    await events.consume(() => {});
    await flood.run(1);
    const agentBefore = await agentKib(guest);
    const hostBefore = process.memoryUsage().arrayBuffers;
    const rounds = 50;
    let hostMost = 0;
    for (let round = 0; round < rounds; round++) {
      // Each of these is a call that is answered, and a program that has run to its end.
      await flood.run(1000);
      await trickle.run(10);
      hostMost = Math.max(hostMost, process.memoryUsage().arrayBuffers - hostBefore);
    }
    await until('the lively records', () => events.statistics.delivered === 10 * rounds);
    const { emitted, failed } = await flood.counts();
    t.equal(Number(emitted + failed), 1 + 1000 * rounds, 'the program was never held up');
    const room = (ringBytes + windowBytes) / perRecord + 1;
    t.ok(Number(emitted) <= room, `${emitted} records were taken, and there is room for ${room}`);
    const agentMore = (await agentKib(guest)) - agentBefore;
    t.ok(agentMore < 1024, `the agent has ${agentMore} KiB more`);
    const hostBound = windowBytes + 1024 * 1024;
    t.ok(hostMost < hostBound, `the host had ${hostMost} bytes more`);
    t.ok(stream.statistics.lagBytes > 0, 'it is told that something waits');
    resume();
    await until('every record', () => sequences.length === Number(emitted));
    t.same(
      sequences,
      Array.from(sequences, (_, at) => BigInt(at)),
    );
    await Promise.all([stream.close(), events.close()]);
    t.match(stream.statistics, { delivered: Number(emitted), lostInTransit: 0 });
    t.match(events.statistics, { delivered: 10 * rounds, lostInTransit: 0 });
  });

  await t.test('a host that is slow gets all of what there is room for', async (t) => {
    await using ring = await ringOf(session, 64 * 1024);
    await using emit = await emitter(session, ring, RECORD_BYTES);
    let next = 0n;
    let disorder = 0;
    const codec = struct({ sequence: u64 });
    const events = ring.records({ codec, windowBytes: 4096, batchBytes: 1024 });
    const reading = (async () => {
      for await (const { sequence } of events) {
        if (sequence !== next++) disorder++;
        if (next % 100n === 0n) await sleep(1);
      }
    })();
    for (let i = 0; i < 20; i++) await emit.run(1000);
    const { emitted, failed } = await emit.counts();
    await until('every record', () => next === emitted);
    await events.close();
    await reading;
    t.equal(disorder, 0);
    t.equal(Number(emitted + failed), 20_000);
    t.match(events.statistics, { delivered: Number(emitted), lostInTransit: 0 });
  });

  await t.test('a host that dies takes nobody with it', async (t) => {
    await using doomed = await named('doomed');
    await using ring = await ringOf(session, 64 * 1024);
    await using emit = await emitter(session, doomed, RECORD_BYTES);
    await using lively = await emitter(session, ring, RECORD_BYTES);
    const events = ring.records();
    await events.consume(() => {});
    // One that has no session yet has no socket but its own to the agent.
    const busy = '[ $(ls -l /proc/$pid/fd | grep -c socket:) -gt 1 ]';
    const count = `for pid in $(pidof waep-executor); do ${busy} && echo $pid; done | wc -l`;
    const executors = async () => Number(await guest.sh(count));
    const alone = async () => (await executors()) === 1;
    await until('the end of all executors but one', alone, { everyMs: 100 });
    const stream = waep(t, 'stream', 'doomed', '--vm', address);
    await emit.run(10);
    await until('ten lines', () => stream.lines().length === 10);
    t.equal(await executors(), 2);
    stream.child.kill('SIGKILL');
    await stream.ended;
    for (let i = 0; i < 10; i++) await lively.run(10);
    await until('100 records', () => events.statistics.delivered === 100);
    await until('the end of its executor', alone, { everyMs: 100 });
    // The ring is the next one's.
    await emit.run(100);
    const next = waep(t, 'stream', 'doomed', '--vm', address, '--count', '100');
    t.equal(await next.ended, 0);
    await events.close();
    t.match(events.statistics, { delivered: 100, lostInTransit: 0 });
  });

  await t.test('a host that connects again goes on, with every loss counted', async (t) => {
    const relay = await relayTo(address);
    t.teardown(() => relay.close());
    await using cut = await Session.connect(relay.address, { ...patient, leaseMs: 20_000 });
    await using ring = await ringOf(cut, 256 * 1024);
    await using emit = await emitter(cut, ring, RECORD_BYTES);
    let last = -1n;
    let missing = 0n;
    const events = ring.records({ codec: struct({ sequence: u64 }) });
    await events.consume(({ sequence }) => {
      missing += sequence - last - 1n;
      last = sequence;
    });
    for (let i = 0; i < 20; i++) {
      await emit.run(500);
      // First the connection for events alone, then that for calls as well.
      if (i === 5) relay.cut(1);
      if (i === 12) {
        await until('another connection for events', () => events.statistics.resumed === 1);
        relay.cut(2);
        relay.cut(0);
        await until('another connection for calls', () => cut.statistics.resumptions === 1);
      }
    }
    await until('a third connection for events', () => events.statistics.resumed >= 2);
    await emit.run(1);
    const { emitted } = await emit.counts();
    await until('the last record', () => last === emitted - 1n);
    await events.close();
    const { delivered, lostInTransit } = events.statistics;
    t.equal(delivered + lostInTransit, Number(emitted));
    t.equal(Number(missing), lostInTransit, 'as the numbers in the records say');
  });

  await t.test('a program drains what the host writes', async (t) => {
    await using ring = await session.createMap({
      type: MapType.BPF_MAP_TYPE_USER_RINGBUF,
      maxEntries: 4096,
    });
    await using drain = await drainOf(session, ring);
    const count = 1000;
    const records = Array.from({ length: count }, (_, at) => {
      const record = new Uint8Array(8 + (at % 50));
      new DataView(record.buffer).setBigUint64(0, BigInt(at), true);
      return record;
    });
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
    const sum = BigInt((count * (count - 1)) / 2);
    t.same(await drain.totals(), { sum, count: BigInt(count) });
  });
});
