import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { cached, contentKey, filesBelow } from '../../guest/image/cache.js';
import { runTool } from '../../guest/tools.js';
import { packageFolder } from '../../src/paths.js';

const core = join(packageFolder, 'addon/core');
const flags = ['-std=c++17', '-fno-exceptions', '-fno-rtti', '-O2', '-Wall', '-Wextra', '-Werror'];
const device = [
  'guest_memory',
  'vhost_backend',
  'vhost_user',
  'virtqueue',
  'vsock_connection',
  'vsock_device',
].map((name) => `transport/${name}`);

/** Compiles a program of this folder together with sources of the addon, and returns its lines. */
async function linesOf(name: string, sources: readonly string[]): Promise<string[]> {
  const program = join(packageFolder, `test/addon/${name}.cc`);
  const files = [program, ...(await filesBelow(core))];
  const contents = await Promise.all(files.map((path) => readFile(path)));
  const folder = await cached(name, contentKey(flags.join(' '), ...contents), async (draft) => {
    await runTool('g++', [
      ...flags,
      ...['-I', core, '-Wl,--wrap=timerfd_settime', program],
      ...sources.map((source) => join(core, `${source}.cc`)),
      ...['-o', join(draft, name)],
    ]);
  });
  return (await runTool(join(folder, name), [])).trim().split('\n');
}

t.test('a connection by itself', async (t) => {
  const lines = await linesOf('connection', ['transport/vsock_connection']);
  t.equal(lines.length, 11);
  t.ok(lines.every((line) => line.startsWith('ok ')));
});

t.test('no driver of Linux waits for a clock of the device', async (t) => {
  const lines = await linesOf('driver', device);
  t.ok(lines.length > 90, `${lines.length} scenarios`);
  t.same(
    lines.filter((line) => !line.startsWith('ok ')),
    [],
  );
});

t.test('what the sandbox of an executor lets through', async (t) => {
  const lines = await linesOf('sandbox', ['executor/sandbox', 'executor/rules']);
  t.equal(lines.length, 14);
  t.same(
    lines.filter((line) => !line.startsWith('ok ')),
    [],
  );
});
