/*
 * Three guests, with tools, streams and sessions of the library, while links are cut, reset and
 * frozen, guests are killed and booted again, agents read their files anew, and the disks of audit
 * logs and of the cache are full for some time. At the end nothing hangs, every end was told once,
 * every guest is clean, each event is accounted for, and what the audit logs tell agrees with itself.
 *
 * Two minutes, or as many seconds as WAEP_CHAOS_SECONDS says.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { boot, type Guest } from '../../guest/index.js';
import { Session } from '../../src/index.js';
import { connect } from '../../src/transport/index.js';
import { emitter } from '../events/emitter.js';
import { ringOf } from '../events/maps.js';
import { cli } from '../run/application.js';
import { start as startProgram } from '../run/outcome.js';
import { until } from '../until.js';

const SECONDS = Number(process.env.WAEP_CHAOS_SECONDS ?? 120);
t.setTimeout((SECONDS + 3600) * 1000);

const SEED = Number(process.env.WAEP_CHAOS_SEED ?? 11);
const EVERY_MS = 3000;
const FREEZE_MS = 2000;
const FULL_MS = 3000;
/** A busy machine takes its time over the ends of all of it. */
const ENDING_MS = 600_000;
/** A file system of memory in the guest, which becomes a small disk. */
const DISK = '/dev/shm';
const LOG = `${DISK}/audit.log`;
const RELOAD = 'kill -HUP $(pidof node | tr " " "\\n" | sort -n | head -n 1)';
const map = { type: 1, keySize: 4, valueSize: 4, maxEntries: 4 } as const;

/** Numbers that are the same for a seed. */
function* dice(seed: number): Generator<number, never> {
  for (let state = seed >>> 0; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** A guest behind an address that stays, whatever becomes of the guest. */
class Place {
  readonly #pairs = new Set<readonly [Socket, Duplex]>();
  readonly #server = createServer((near) => void this.#pass(near));
  #guest: Guest | undefined;

  async listen(): Promise<void> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
  }

  get address(): string {
    return `tcp:127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get guest(): Guest | undefined {
    return this.#guest;
  }

  async boot(): Promise<void> {
    const guest = await boot({
      exec: true,
      memoryMib: 512,
      agent: { profile: 'full', args: ['--quiet', '--audit', LOG] },
      notice: () => {},
    });
    await guest.sh(`mount -o remount,size=8m ${DISK}`);
    // Before that, nothing must happen to it.
    this.#guest = guest;
  }

  cut(): void {
    for (const [near, far] of this.#pairs) {
      near.destroy();
      far.destroy();
    }
  }

  reset(): void {
    for (const [near, far] of this.#pairs) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  async freeze(): Promise<void> {
    const frozen = [...this.#pairs];
    for (const pair of frozen) for (const end of pair) end.pause();
    await sleep(FREEZE_MS);
    for (const pair of frozen) for (const end of pair) end.resume();
  }

  async reboot(): Promise<void> {
    const guest = this.#guest;
    this.#guest = undefined;
    await guest?.stop();
    await this.boot();
  }

  async reload(): Promise<void> {
    // A guest that is killed meanwhile cannot.
    await this.#guest?.sh(RELOAD).catch(() => {});
  }

  /** Leaves the audit log no room for some time. */
  async fill(): Promise<void> {
    const guest = this.#guest;
    const fill = `dd if=/dev/zero of=${DISK}/fill bs=64k 2>/dev/null || true`;
    // A guest that is killed meanwhile has another disk afterwards.
    await guest?.sh(fill).catch(() => {});
    await sleep(FULL_MS);
    await guest?.sh(`rm -f ${DISK}/fill`).catch(() => {});
  }

  async close(): Promise<void> {
    this.#server.close();
    this.cut();
    await this.#guest?.stop();
  }

  async #pass(near: Socket): Promise<void> {
    near.on('error', () => {});
    let far: Duplex;
    try {
      if (this.#guest === undefined) throw new Error('there is no guest');
      far = await connect(this.#guest.vsock(), { timeoutMs: 5000 });
    } catch {
      near.destroy();
      return;
    }
    far.on('error', () => {});
    const pair = [near, far] as const;
    this.#pairs.add(pair);
    for (const [one, other] of [pair, [far, near]] as const) {
      one.on('close', () => {
        this.#pairs.delete(pair);
        other.destroy();
      });
      one.pipe(other);
    }
  }
}

const cache = mkdtempSync(join(tmpdir(), 'waep-cache-'));
execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'none', cache]);
t.teardown(() => {
  execFileSync('umount', ['-l', cache]);
  rmdirSync(cache);
});

/** Leaves the cache no room for some time. */
async function fillCache(): Promise<void> {
  const path = join(cache, 'fill');
  spawnSync('dd', ['if=/dev/zero', `of=${path}`, 'bs=64k'], { stdio: 'ignore' });
  await sleep(FULL_MS);
  rmSync(path, { force: true });
}

interface Line {
  event: string;
  session?: number;
  lines: number;
}

let over = false;

/** Runs tools one after the other, and one that waits all the time. */
async function tools(t: Test, { address }: Place): Promise<number> {
  let runs = 0;
  while (!over) {
    const script = runs % 3 === 2 ? 'echo $$; exec sleep 1000' : 'uname -r; sleep 1; uname -r';
    const words = [cli, 'run', '--vm', address, '--', 'sh', '-c', script];
    const { child, ended } = startProgram([process.execPath, ...words], { WAEP_CACHE_DIR: cache });
    const timer = setInterval(() => {
      if (over || runs % 3 === 2) child.kill('SIGTERM');
    }, 8000);
    const { status, signal, errors } = await ended;
    clearInterval(timer);
    runs++;
    // The signal itself ends what has not begun to pass it on.
    const fine = [0, 124, 125, 143].includes(status ?? -1) || signal === 'SIGTERM';
    if (!fine) t.fail(`a tool at ${address} ended with ${status ?? signal}: ${errors}`);
    const told = errors.match(/The program's calls fail with EIO/g)?.length ?? 0;
    if (status === 124 && told !== 1) t.fail(`an end was told ${told} times: ${errors}`);
    if (status === 125 && errors === '') t.fail('a failure was not told');
    if (status === 125) await sleep(500);
  }
  return runs;
}

/** Has sessions do something, one after the other. */
async function sessions(t: Test, { address }: Place): Promise<number> {
  let calls = 0;
  while (!over) {
    let session: Session;
    try {
      session = await Session.connect(address, { leaseMs: 5000, callTimeoutMs: 20_000 });
    } catch {
      await sleep(200);
      continue;
    }
    let ends = 0;
    const closed = new Promise<void>((resolve) => {
      session.onClose(() => {
        ends++;
        resolve();
      });
    });
    while (!over && !session.closed) {
      try {
        const one = await session.createMap(map);
        await one.update(Buffer.alloc(4), Buffer.from('abcd'));
        if (!Buffer.from('abcd').equals((await one.lookup(Buffer.alloc(4))) as Uint8Array)) {
          t.fail(`a map at ${address} has what was not written`);
        }
        await one.close();
        calls += 4;
      } catch (error) {
        const { code = '' } = error as { code?: string };
        const known = ['ERR_SESSION_CLOSED', 'ERR_SESSION_INTERRUPTED', 'ERR_OBJECT_CLOSED'];
        if (![...known, 'ERR_CALL_TIMEOUT'].includes(code)) t.fail(`${address}: ${error}`);
        if (code === 'ERR_CALL_TIMEOUT') session.close();
      }
    }
    session.close();
    await closed;
    if (ends !== 1) t.fail(`an end was told ${ends} times`);
  }
  return calls;
}

/** Has programs emit events and counts those that come. Returns how many were accounted for. */
async function streams(t: Test, { address }: Place): Promise<number> {
  let all = 0;
  while (!over) {
    try {
      await using session = await Session.connect(address, {
        leaseMs: 5000,
        callTimeoutMs: 20_000,
      });
      await using ring = await ringOf(session, 64 * 1024);
      await using emit = await emitter(session, ring, 16);
      const events = ring.records();
      await events.consume(() => {});
      for (let round = 0; round < 20 && !over; round++) {
        await emit.run(50);
        await sleep(200);
      }
      const { emitted } = await emit.counts();
      const isThere = () => {
        const { delivered, lostInTransit } = events.statistics;
        if (session.closed) throw new Error('the session has ended');
        return delivered + lostInTransit === Number(emitted);
      };
      await until(
        () => `${emitted} events at ${address}: ${JSON.stringify(events.statistics)}`,
        isThere,
      ).catch((error: Error) => {
        if (!session.closed) t.fail(error.message);
      });
      all += Number(emitted);
    } catch {
      // Its guest has gone, or was not there.
      await sleep(200);
    }
  }
  return all;
}

/** Follows a guest's log, and begins again when that ends. */
async function traces({ address }: Place): Promise<void> {
  while (!over) {
    const child = spawn(process.execPath, [cli, 'trace', '--vm', address], { stdio: 'ignore' });
    const timer = setInterval(() => {
      if (over) child.kill('SIGINT');
    }, 500);
    await once(child, 'exit');
    clearInterval(timer);
    await sleep(500);
  }
}

t.test('nothing hangs, and every end is told once', async (t) => {
  const places = [new Place(), new Place(), new Place()];
  t.teardown(() => {
    over = true;
    return Promise.all(places.map((place) => place.close()));
  });
  for (const place of places) {
    await place.listen();
    await place.boot();
  }
  const work = places.flatMap((place) => [
    tools(t, place),
    sessions(t, place),
    streams(t, place),
    traces(place),
  ]);

  const roll = dice(SEED);
  const done: Record<string, number> = {};
  const acts: Promise<void>[] = [];
  const untilMs = performance.now() + SECONDS * 1000;
  while (performance.now() < untilMs) {
    const place = places[Math.floor(roll.next().value * places.length)] as Place;
    const chance = roll.next().value;
    const [what, act] =
      chance < 0.2
        ? (['cut', () => place.cut()] as const)
        : chance < 0.4
          ? (['reset', () => place.reset()] as const)
          : chance < 0.55
            ? (['freeze', () => place.freeze()] as const)
            : chance < 0.7
              ? (['reload', () => place.reload()] as const)
              : chance < 0.8
                ? (['fill', () => place.fill()] as const)
                : chance < 0.9
                  ? (['fill the cache', fillCache] as const)
                  : (['reboot', () => place.reboot()] as const);
    if (place.guest !== undefined) {
      done[what] = (done[what] ?? 0) + 1;
      // Others have their turn while a guest boots.
      acts.push(Promise.resolve(act()));
    }
    await sleep(EVERY_MS);
  }
  await Promise.all(acts);
  t.comment(`seed ${SEED}: ${JSON.stringify(done)}`);
  over = true;

  let finished = 0;
  for (const one of work) void one.finally(() => finished++);
  await until(
    () => `${work.length - finished} of ${work.length} to end`,
    () => finished === work.length,
    { withinMs: ENDING_MS },
  );
  const counts = await Promise.all(work);
  const sum = (kind: number) =>
    counts.filter((_, i) => i % 4 === kind).reduce<number>((all, one) => all + Number(one), 0);
  // How much it is depends on the machine.
  t.ok(sum(0) > 0 && sum(1) > 0, `${sum(0)} tools were run and ${sum(1)} calls made`);
  t.ok(sum(2) > 0, `${sum(2)} events were accounted for`);

  for (const { guest, address } of places) {
    if (guest === undefined) throw new Error(`there is no guest at ${address}`);
    let lines: Line[] = [];
    const of = (wanted: string) =>
      lines.filter(({ event }) => event === wanted).map(({ session }) => session ?? 0);
    /** The sessions of which one of the two lines is not there, beyond those that were lost. */
    const lacking = async () => {
      const text = await guest.sh(`cat ${LOG}`);
      lines = text
        .trim()
        .split('\n')
        .map((line): Line => JSON.parse(line));
      const [begun, ended] = [of('session'), of('ended')];
      const alone = [
        ...begun.filter((session) => !ended.includes(session)),
        ...ended.filter((session) => !begun.includes(session)),
      ];
      const lost = lines.reduce((sum, line) => sum + (line.event === 'lost' ? line.lines : 0), 0);
      return alone.slice(lost);
    };
    await until(
      () => `both lines of each session at ${address}: ${JSON.stringify(lines)}`,
      async () => (await lacking()).length === 0,
      { withinMs: ENDING_MS, everyMs: 500 },
    );
    const ended = of('ended');
    t.equal(new Set(ended).size, ended.length, `${address}: no session has two ends`);
    await until(
      `the end of all executors at ${address}, but for the one that is ready for the next session`,
      async () => (await guest.sh('pidof waep-executor || true')).trim().split(/\s+/).length <= 1,
      { withinMs: ENDING_MS, everyMs: 500 },
    );
    t.same(of('fault'), []);
    t.same(of('not reloaded'), []);
  }
});
