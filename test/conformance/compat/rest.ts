/* Whether a guest is at rest: a session's end ends everything that was done for it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Session } from '../../../src/index.js';
import { readFile } from '../../../src/kernel/index.js';
import type { EquippedGuest } from './equipped-guest.js';

/** How soon after the end of a tool nothing is to go on any more. */
const WITHIN_MS = 1000;
const LOOK_MS = 100;
/** How much of one processor the looks themselves, and a system at rest, may take. */
const MOST_BUSY = 0.5;
const SETTLING_LOOKS = 5;

/** How many executors the guest has: one for each session, and one that waits for the next. */
async function executorsOf(guest: EquippedGuest): Promise<number> {
  const pids = await guest.sh('pidof waep-executor || true');
  return pids.split(/\s+/).filter((pid) => pid !== '').length;
}

/** The most executors that a guest has while only the sessions are open that are now. */
export async function settledExecutors(guest: EquippedGuest): Promise<number> {
  const counts: number[] = [];
  for (let look = 0; look < SETTLING_LOOKS; look++) {
    counts.push(await executorsOf(guest));
    await sleep(LOOK_MS);
  }
  return Math.max(...counts);
}

/** What the processors of a guest have done until now, in ticks of its own clock. */
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

/** How many processors of a guest are at work, as a number between 0 and that of all of them. */
async function processorsAtWork(session: Session): Promise<number> {
  const before = await ticksOf(session);
  await sleep(LOOK_MS);
  const after = await ticksOf(session);
  const all = after.all - before.all;
  return all === 0 ? 0 : (after.cpus * (after.busy - before.busy)) / all;
}

/**
 * What goes on in a guest a second after everything has ended, in words: nothing, it should be.
 *
 * @param executors how many there are in a guest at rest
 */
export async function unrest(
  guest: EquippedGuest,
  session: Session,
  executors: number,
): Promise<string[]> {
  const deadlineMs = performance.now() + WITHIN_MS;
  for (;;) {
    const late = performance.now() >= deadlineMs;
    const count = await executorsOf(guest);
    const busy = await processorsAtWork(session);
    const found = [
      ...(count > executors ? [`${count} executors where ${executors} are enough`] : []),
      ...(busy > MOST_BUSY ? [`a processor at work for ${Math.round(100 * busy)} %`] : []),
    ];
    if (found.length === 0 || late) return found;
  }
}
