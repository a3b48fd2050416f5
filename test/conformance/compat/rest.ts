/* Checks that a guest is at rest: the end of a session must end everything that it did. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Session } from '../../../src/index.js';
import { readFile } from '../../../src/kernel/index.js';
import type { EquippedGuest } from './equipped-guest.js';

/** How soon after the end of a tool the guest must be at rest. */
const WITHIN_MS = 1000;
const LOOK_MS = 100;
/** The number of processors that the looks themselves, and a system at rest, may use. */
const MOST_BUSY = 0.5;
const SETTLING_LOOKS = 5;
/** A slow machine takes as many looks, and longer for each. */
const FEWEST_LOOKS = 8;
/** A look must be the smaller part of the time that it looks at. */
const LOOKS_SHARE = 1 / 4;

/** Returns how many executors the guest has: one for each session, and one for the next session. */
async function executorsOf(guest: EquippedGuest): Promise<number> {
  const pids = await guest.sh('pidof waep-executor || true');
  return pids.split(/\s+/).filter((pid) => pid !== '').length;
}

/** Returns the most executors that a guest has while no further session is open. */
export async function settledExecutors(guest: EquippedGuest): Promise<number> {
  const counts: number[] = [];
  for (let look = 0; look < SETTLING_LOOKS; look++) {
    counts.push(await executorsOf(guest));
    await sleep(LOOK_MS);
  }
  return Math.max(...counts);
}

/** Returns the work of a guest's processors until now, in ticks of its own clock. */
async function ticksOf(session: Session): Promise<{ busy: number; all: number; cpus: number }> {
  const text = Buffer.from(await readFile(session, '/proc/stat')).toString();
  const ticks =
    text
      .match(/^cpu +(.*)$/m)?.[1]
      ?.split(' ')
      .map(Number) ?? [];
  const [user = 0, nice = 0, system = 0, idle = 0, waiting = 0, irq = 0, softIrq = 0] = ticks;
  const busy = user + nice + system + irq + softIrq;
  return { busy, all: busy + idle + waiting, cpus: text.match(/^cpu\d+ /gm)?.length ?? 1 };
}

/** Returns how many processors of a guest are at work, from 0 to the number of all processors. */
async function processorsAtWork(session: Session): Promise<number> {
  const startMs = performance.now();
  const before = await ticksOf(session);
  await sleep(Math.max(LOOK_MS, (performance.now() - startMs) / LOOKS_SHARE));
  const after = await ticksOf(session);
  const all = after.all - before.all;
  return all === 0 ? 0 : (after.cpus * (after.busy - before.busy)) / all;
}

/**
 * Returns what goes on in a guest a second after every tool has ended, in words. It should be
 * nothing.
 *
 * @param executors the number of executors in a guest at rest
 * @param endMs the time, by performance.now(), at which the tool has to have ended. Default: now
 * @param withinMs how long it may take in place of a second, where a machine may be busy
 */
export async function unrest(
  guest: EquippedGuest,
  session: Session,
  executors: number,
  endMs = 0,
  withinMs = WITHIN_MS,
): Promise<string[]> {
  const deadlineMs = Math.max(performance.now(), endMs) + withinMs;
  for (let looks = 1; ; looks++) {
    const late = performance.now() >= deadlineMs && looks >= FEWEST_LOOKS;
    const count = await executorsOf(guest);
    const busy = await processorsAtWork(session);
    const found = [
      ...(count > executors ? [`${count} executors where ${executors} are enough`] : []),
      ...(busy > MOST_BUSY ? [`a processor at work for ${Math.round(100 * busy)} %`] : []),
    ];
    if (found.length === 0 || late) return found;
  }
}
