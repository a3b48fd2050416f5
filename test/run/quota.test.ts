import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import type { AgentEvents } from '../../guest/agent/agent.js';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { compile, profiles } from '../../src/policy/index.js';
import { localAgent } from '../agent/local-agent.js';
import { until } from '../until.js';
import { application, cli } from './application.js';
import { start } from './outcome.js';

/** The events that the program emits. */
const EVENTS = 1000;
const PER_SECOND = 300;

const program = application();
const cache = mkdtempSync(join(tmpdir(), 'waep-cache-'));
t.teardown(() => {
  program.dispose();
  rmSync(cache, { recursive: true, force: true });
});

t.test('a program is told which of its events a quota has taken away', async (t) => {
  const quotas = { ...profiles.full.quotas, events_per_second: PER_SECOND };
  const { agent, address, close } = await localAgent({
    rules: compile({ ...profiles.full, quotas }, kernelNames()),
  });
  t.teardown(close);
  const told: AgentEvents['call'][0]['call'][] = [];
  const ends: (number | undefined)[] = [];
  agent.on('call', ({ call }) => told.push(call));
  agent.on('ended', ({ report }) => ends.push(report?.eventsDropped));
  const words = [process.execPath, cli, 'run', '--vm', address, '--', program.path, 'perf'];
  const { status, output, errors } = await start(words, { WAEP_CACHE_DIR: cache }).ended;
  t.equal(status, 0);
  // In order and complete: what the buffer says is lost is exactly what is not there.
  const [, lost] = /^perf: 1000 events, 0 wrong\nperf: (\d+) of them lost\n$/.exec(output) ?? [];
  t.ok(Number(lost) > 0 && Number(lost) <= EVENTS - PER_SECOND, output);
  const why = `the guest's policy lets a session have ${PER_SECOND} in a second (quotas.events_per_second).`;
  const lines = errors.trim().split('\n');
  t.equal(lines.length, 2);
  t.match(lines[0], /^waep: \d+ events have been dropped so far: /);
  t.equal(lines[1], `waep: ${lost} events have been dropped: ${why}`);
  await until('the end of the session', () => ends.length > 0);
  t.same(ends, [Number(lost)]);
  const refused = told.filter(({ event }) => event === 'refused');
  t.match(refused, [
    { command: 'SUBSCRIBE', rule: 'quotas.events_per_second', value: /^\d+ records$/ },
  ]);
});
