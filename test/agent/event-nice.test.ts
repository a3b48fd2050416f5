import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { test } from 'tap';
import { Session } from '../../src/index.js';
import { localAgent } from './local-agent.js';

/** The nice values of all threads of a process. */
function niceOf(pid: number): number[] {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder).map((thread) => {
    const stat = readFileSync(`${folder}/${thread}/stat`, 'utf8');
    // The 19th, of which the first two end with the name's parenthesis.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
  });
}

const NICE = -4;

const skip =
  process.getuid?.() !== 0 ? 'only root may ask for a higher priority (try: sudo npm test)' : false;

test('events are read with the priority that the agent is given', { skip }, async (t) => {
  const local = await localAgent({ eventNice: NICE });
  t.teardown(() => local.close());
  await using session = await Session.connect(local.address);
  // Its executor answers once all of its threads run as they are to.
  await session.readClock(1);
  const [pid = 0] = local.agent.executorPids;
  const nice = niceOf(pid);
  t.equal(nice.filter((value) => value === NICE).length, 1, 'one thread has it');
  const others = nice.filter((value) => value !== NICE);
  t.same(new Set(others), new Set([getPriority()]), "calls have the agent's own");
});
