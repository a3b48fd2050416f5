import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { localAgent } from '../agent/local-agent.js';
import { application, cli } from './application.js';
import { start } from './outcome.js';

/* What containers take from `waep run`. The local agent is outside of them. */

const { EPERM, ENOSYS } = constants.errno;
const program = application();
const refuse = application('refuse');
const { address, close } = await localAgent();
const cache = mkdtempSync(join(tmpdir(), 'waep-cache-'));
t.teardown(async () => {
  program.dispose();
  refuse.dispose();
  rmSync(cache, { recursive: true, force: true });
  await close();
});

const run = (container: readonly string[], ...words: string[]) => {
  const waep = [process.execPath, cli, 'run', '--vm', address, '--', program.path, ...words];
  return start([...container, ...waep], { WAEP_CACHE_DIR: cache }).ended;
};

t.test('a filter that refuses process_vm_readv(2) changes nothing', async (t) => {
  const words = ['copies', 'mapped', 'probes', 'errors', 'ring', 'perf'];
  const expected = await run([], ...words);
  t.equal(expected.status, 0);
  t.match(expected.output, /^ring: 1000 events, 0 wrong$/m);
  // What is known of the kernel answers by now.
  for (const refusal of [EPERM, ENOSYS]) {
    t.same(await run([refuse.path, String(refusal)], ...words), expected, `errno ${refusal}`);
  }
});

t.test('a /proc of other processes is named', async (t) => {
  const { status, output, errors } = await run(['unshare', '--pid', '--fork'], 'ring');
  t.equal(status, 125);
  t.equal(output, '');
  t.match(errors, /\/proc shows the processes of another PID namespace.*mount -t proc/);
});
