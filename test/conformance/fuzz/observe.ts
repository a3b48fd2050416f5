/*
 * Sequences of made-up calls under the profile `observe`, in a real guest in which others are at
 * work. Nothing of theirs may change, and nothing of the client's may stay.
 */
import { isDeepStrictEqual } from 'node:util';
import { enums, perf } from '../../../src/bpf/index.js';
import type { Call, CallBuffer } from '../../../src/call.js';
import { Relocation } from '../../../src/call.js';
import { Session } from '../../../src/session.js';
import { type Bystanders, bootBystanders } from '../../hostile/bystanders.js';
import { patient, until } from '../../until.js';
import { Random } from './host/random.js';
import { attacks, followed, preparation } from './oracle.js';
import type { Outcome } from './outcome.js';

/** The number of clients at a time. One alone would mostly wait for its answers. */
const CLIENTS = 4;
/**
 * After this many sequences the clients' sessions end, and everything that they made must be gone.
 */
const SEQUENCES_OF_A_ROUND = 400;
const MOST_CALLS = 6;
/** The handles of test/conformance/fuzz/oracle.ts, and none. */
const HANDLES = 10;
/**
 * The agent's errors for a call that it does not make. Any other error means that there is no
 * answer.
 */
const refusals = /^ERR_(POLICY_REFUSED|CALL_MALFORMED|CALL_LIMIT|HANDLE_)/;

const { FD32, FD64 } = Relocation;
const { PerfIoctl } = enums;
const { PERF_EVENT_ATTR, PERF_ATTR_SIZE_VER5 } = perf;

/** How much to do, and the first seed. */
export interface ObserveOptions {
  readonly sequences: number;
  /** Nothing begins later than after this time. */
  readonly seconds?: number;
  readonly seed: number;
  /** The client's profile. A profile other than `observe` shows that breaches are noticed. */
  readonly profile?: string;
}

/** Returns a number for a word of a call: edges, descriptor numbers, opcodes, ids of others. */
function number(random: Random, { ids, places }: Bystanders): number {
  return random.pick([
    () => random.edge(),
    () => random.below(24),
    () => random.pick([0x18, 0x1018, 0x2018, 0x5018, 0x6018, 0x85, 0x2085, 14, 36, 128, 4096]),
    () => random.pick([ids.map, ids.program, ids.link]),
    () => random.pick([places.code, places.code + 1, places.data, places.address]),
  ])();
}

const bytesOf = (buffer: CallBuffer): Buffer | undefined =>
  typeof buffer === 'number' ? undefined : Buffer.from('inout' in buffer ? buffer.inout : buffer);

/** Returns the same call, as it is or with a few words, buffers and relocations changed. */
function spoilt(call: Call, random: Random, others: Bystanders): Call {
  const buffers = call.buffers.map((buffer) =>
    typeof buffer === 'number'
      ? buffer
      : 'inout' in buffer
        ? { inout: Buffer.from(buffer.inout) }
        : Buffer.from(buffer),
  );
  const changed = { ...call, buffers, relocations: [...call.relocations] };
  for (let left = random.below(4); left > 0; left--) change(changed, random, others);
  return changed;
}

function change(call: Call, random: Random, others: Bystanders): void {
  const { buffers, relocations } = call;
  const relocation = random.below(Math.max(1, relocations.length / 4)) * 4;
  const index = random.below(buffers.length);
  const buffer = buffers[index];
  const bytes = buffer === undefined ? undefined : bytesOf(buffer);
  switch (random.below(10)) {
    case 0:
      if (relocations.length > 0) relocations.splice(relocation, 4);
      return;
    case 1:
      relocations.push(random.below(buffers.length), random.below(40) * 4, random.below(3), 0);
      relocations[relocations.length - 1] = random.below(HANDLES);
      return;
    case 2:
    case 3:
      if (relocations.length > 0) relocations[relocation + 3] = random.below(HANDLES);
      return;
    case 4:
      call.result = random.below(HANDLES);
      return;
    case 5:
      buffers.push(random.once(2) ? random.below(8192) : random.bytes(random.below(512)));
      return;
    case 6:
      if (bytes !== undefined && buffers[0] !== buffer) {
        buffers[index] = bytes.subarray(0, random.below(bytes.length + 1));
      }
      return;
    default: {
      if (bytes === undefined || bytes.length < 4) return;
      const at = random.below(Math.floor(bytes.length / 4)) * 4;
      bytes.writeUInt32LE(number(random, others), at);
      buffers[index] = typeof buffer === 'object' && 'inout' in buffer ? { inout: bytes } : bytes;
    }
  }
}

const templates: readonly (readonly Call[])[] = [...followed.map((one) => [one]), ...attacks];

/** Returns a perf event of any kind that the guest has. */
function perfEvent(random: Random, others: Bystanders): Parameters<Session['perfEventOpen']>[0] {
  const attribute = Buffer.alloc(PERF_ATTR_SIZE_VER5);
  const { type, size, config, config1, config2 } = PERF_EVENT_ATTR.fields;
  attribute.writeUInt32LE(random.below(10), type.offset);
  attribute.writeUInt32LE(random.once(4) ? random.edge() : attribute.length, size.offset);
  attribute.writeUInt32LE(number(random, others), config.offset);
  attribute.writeUInt32LE(number(random, others), config.offset + 4);
  attribute.writeUInt32LE(number(random, others), config2.offset);
  const name = random.pick([others.file, 'do_nanosleep', 'sched_switch', '']);
  return {
    result: random.below(HANDLES),
    pid: random.pick([-1, 0, others.pid]),
    cpu: random.below(2) - 1,
    group: random.once(4) ? random.below(HANDLES) : 0,
    flags: 0,
    buffers: [attribute, Buffer.from(`${name}\0`)],
    relocations: random.once(6) ? [] : [0, config1.offset, Relocation.POINTER, 1],
  };
}

function ioctl(random: Random): Parameters<Session['ioctl']>[0] {
  const request = random.pick(Object.values(PerfIoctl));
  const handle = random.below(HANDLES);
  const argument = Buffer.alloc(8);
  const relocations = random.pick([
    [],
    [0, 0, FD64, random.below(HANDLES)],
    [0, 0, Relocation.POINTER, 1],
    [0, 0, FD32, random.below(HANDLES)],
  ]);
  if (relocations.length === 0) argument.writeUInt32LE(random.below(24));
  return { handle, request, buffers: [argument, random.bytes(64)], relocations };
}

/** How many requests the guest's kernel accepted, refused, and never saw. */
interface Tally {
  done: number;
  failed: number;
  refused: number;
}

/** A client that forgets after each sequence what it made. */
class HostileClient {
  readonly #session: Session;
  readonly #others: Bystanders;
  readonly #tally: Tally;

  constructor(session: Session, others: Bystanders, tally: Tally) {
    this.#session = session;
    this.#others = others;
    this.#tally = tally;
  }

  async run(random: Random): Promise<void> {
    const requests = preparation(this.#others.ids).map((call) =>
      this.#count(this.#session.call(call)),
    );
    for (let left = 1 + random.below(MOST_CALLS); left > 0; left--) {
      requests.push(...this.#step(random));
    }
    await Promise.all(requests);
    await this.#session.releaseAll();
  }

  #step(random: Random): Promise<void>[] {
    const session = this.#session;
    if (random.once(8)) {
      return [this.#count(session.perfEventOpen(perfEvent(random, this.#others)))];
    }
    if (random.once(10)) return [this.#count(session.ioctl(ioctl(random)))];
    const [...calls] = random.pick(templates);
    return calls.map((call) => this.#count(session.call(spoilt(call, random, this.#others))));
  }

  async #count(request: Promise<{ result: number }>): Promise<void> {
    const done = await request.then(
      ({ result }) => (result >= 0 ? 'done' : 'failed'),
      (error: { code?: string }) => {
        if (!refusals.test(error.code ?? '')) throw error;
        return 'refused' as const;
      },
    );
    this.#tally[done]++;
  }
}

/**
 * Shares a check among many callers. A caller gets the outcome of a check that began after the
 * call, together with all others who asked by then.
 */
function sharedCheck(check: () => Promise<string[]>): () => Promise<string[]> {
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<string[]> | undefined;
  return () => {
    next ??= running.then(() => {
      const begun = check();
      running = begun.catch(() => {});
      next = undefined;
      return begun;
    });
    return next;
  };
}

/** Runs sequences until the wanted number or the time is reached, or something was found. */
export async function fuzzObserve({
  sequences,
  seconds = Number.POSITIVE_INFINITY,
  seed,
  profile = 'observe',
}: ObserveOptions): Promise<Outcome> {
  const others = await bootBystanders({ profile });
  const started = performance.now();
  const elapsed = () => (performance.now() - started) / 1000;
  const tally = { done: 0, failed: 0, refused: 0 };
  let next = 0;
  let inputs = 0;
  let found: string | undefined;
  const isOver = () => found !== undefined || elapsed() > seconds;
  const check = sharedCheck(() => others.changes());

  /** Runs one client of a round, until the round has no sequence left. */
  const work = async (end: number) => {
    const session = await Session.connect(others.guest.vsock(), patient);
    try {
      const client = new HostileClient(session, others, tally);
      while (next < end && !isOver()) {
        const one = seed + next++;
        await client.run(new Random(one));
        const changes = await check();
        inputs++;
        if (changes.length > 0) found ??= `by sequence ${one}: ${changes.join('; ')}`;
      }
    } finally {
      await session.close();
    }
  };

  try {
    const ids = await others.allIds();
    while (next < sequences && !isOver()) {
      const end = Math.min(next + SEQUENCES_OF_A_ROUND, sequences);
      await Promise.all(Array.from({ length: CLIENTS }, () => work(end)));
      const left = await leftovers(others, ids);
      if (left !== undefined) found ??= `by sequence ${seed + next}: ${left}`;
    }
  } finally {
    await others.stop();
  }
  const coverage = `${tally.done} calls done, ${tally.failed} failed, ${tally.refused} refused`;
  const outcome: Outcome = { target: 'observe', inputs, seconds: elapsed(), coverage };
  return found === undefined ? outcome : { ...outcome, found };
}

/** Returns what an ended session has left behind for long. */
async function leftovers(others: Bystanders, ids: object): Promise<string | undefined> {
  let left = '';
  const gone = async () => {
    const now = await others.allIds();
    left = JSON.stringify(now);
    return isDeepStrictEqual(now, ids);
  };
  return until('nothing', gone, { everyMs: 20 }).then(
    () => undefined,
    () => `there are ${left} in place of ${JSON.stringify(ids)}`,
  );
}
