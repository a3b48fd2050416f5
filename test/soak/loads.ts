/* What goes on during a soak, each until a time and counted. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { enums, insn, Session, struct, u32, u64 } from '../../src/index.js';
import { connect } from '../../src/transport/index.js';
import { emitter } from '../events/emitter.js';
import { ringOf } from '../events/maps.js';
import { until } from '../until.js';

const { MapType, ProgType } = enums;
const RECORD_BYTES = 64;
const RECORDS_PER_RUN = 100;
/** An emulated guest on a busy machine takes its time. */
const PATIENT = { timeoutMs: 60_000, handshakeTimeoutMs: 60_000, callTimeoutMs: 120_000 };

/** What was done so far. */
export interface Counts {
  recordsEmitted: number;
  recordsDelivered: number;
  sessions: number;
  connections: number;
  tools: number;
  failures: number;
}

/** What a load works on. */
export interface Place {
  /** The agent's address by each transport. */
  readonly addresses: readonly string[];
  /** When to end, by performance.now(). */
  readonly untilMs: number;
  readonly counts: Counts;
  /** Told why something failed. */
  failed(what: string, error: unknown): void;
}

const running = ({ untilMs }: Place) => performance.now() < untilMs;

/** One stream of records without end: some 200 a second, each of which has to arrive. */
export async function events(place: Place): Promise<void> {
  const { counts } = place;
  await using session = await Session.connect(place.addresses[0] as string, PATIENT);
  await using ring = await ringOf(session, 256 * 1024);
  await using emit = await emitter(session, ring, RECORD_BYTES);
  let next = 0n;
  const records = ring.records({ codec: struct({ sequence: u64, attempt: u64 }) });
  await records.consume(({ sequence }) => {
    if (sequence !== next) place.failed('events', new Error(`record ${sequence}, not ${next}`));
    next = sequence + 1n;
    counts.recordsDelivered++;
  });
  while (running(place)) {
    await emit.run(RECORDS_PER_RUN);
    counts.recordsEmitted = Number((await emit.counts()).emitted);
    await sleep(500);
  }
  await until('the last records', () => counts.recordsDelivered >= counts.recordsEmitted);
  await records.close();
}

const instructions = insn.program(insn.mov('r0', 0), insn.exit());

/** What sessions are used for, in turn. */
const uses: readonly ((session: Session) => Promise<void>)[] = [
  async (session) => {
    const { BPF_MAP_TYPE_HASH: type } = MapType;
    const map = await session.createMap({ type, key: u32, value: u64, maxEntries: 100 });
    for (let i = 0; i < 20; i++) await map.update(i, BigInt(i));
  },
  async (session) => {
    const { BPF_PROG_TYPE_RAW_TRACEPOINT: type } = ProgType;
    const program = await session.loadProgram({ type, license: 'GPL', instructions });
    await program.attachRawTracepoint('sched_switch');
  },
  async (session) => {
    const ring = await ringOf(session, 4096);
    await using emit = await emitter(session, ring, RECORD_BYTES);
    let seen = 0;
    const records = ring.records();
    await records.consume(() => seen++);
    await emit.run(10);
    await until('ten records', () => seen === 10);
  },
  async (session) => session.resume(),
];

/** Sessions, one after the other, on each transport and for each use in turn. */
export async function sessions(place: Place): Promise<void> {
  for (let i = 0; running(place); i++) {
    const address = place.addresses[i % place.addresses.length] as string;
    const use = uses[Math.floor(i / place.addresses.length) % uses.length] as (typeof uses)[number];
    try {
      const session = await Session.connect(address, { ...PATIENT, leaseMs: 60_000 });
      try {
        await use(session);
      } finally {
        session.close();
      }
      place.counts.sessions++;
    } catch (error) {
      place.failed('sessions', error);
    }
    await sleep(100);
  }
}

/** Connections that say nothing and end, as those of port scanners and health checks do. */
export async function connections(place: Place): Promise<void> {
  for (let i = 0; running(place); i++) {
    try {
      const socket = await connect(place.addresses[i % place.addresses.length] as string, {
        timeoutMs: 60_000,
      });
      socket.destroy();
      await once(socket, 'close');
      place.counts.connections++;
    } catch (error) {
      place.failed('connections', error);
    }
    await sleep(500);
  }
}

/** Unmodified programs, one after the other. */
export async function tools(
  place: Place,
  commands: readonly (readonly string[])[],
  env: Readonly<Record<string, string>>,
): Promise<void> {
  for (let i = 0; running(place); i++) {
    const [file = '', ...words] = commands[i % commands.length] as readonly string[];
    const child = spawn(file, words, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
    });
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    const [status, signal] = await once(child, 'close');
    if (status === 0) place.counts.tools++;
    else place.failed('tools', new Error(`${words.join(' ')}: ${status ?? signal} ${errors}`));
    await sleep(1000);
  }
}
