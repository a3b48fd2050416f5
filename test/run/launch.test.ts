import { readFileSync } from 'node:fs';
import t from 'tap';
import { launch } from '../../src/run/launch.js';
import { until } from '../until.js';

/** The processes that this one has started and that have not ended. */
const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim();

t.test('a program is not started for a guest whose clock cannot be read', async (t) => {
  const gone = new Error('the guest has gone');
  let launchers = '';
  const clockAhead = async () => {
    launchers = children();
    throw gone;
  };
  await t.rejects(launch(['true'], { binds: [], clockAhead }), gone);
  t.match(launchers, /^\d+$/, 'its launcher has been started meanwhile');
  await until('the end of the launcher', () => children() === '');
});
