import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { cached, contentKey } from '../../guest/image/cache.js';
import { runTool } from '../../guest/tools.js';
import { packageFolder } from '../../src/paths.js';

const core = join(packageFolder, 'addon/core');
const flags = ['-std=c++17', '-fno-exceptions', '-fno-rtti', '-O2', '-Wall', '-Wextra', '-Werror'];
const sources = ['guest_memory', 'vhost_backend', 'vhost_user', 'virtqueue', 'vsock_device'];

/** Compiles the drivers together with the device. */
async function compile(): Promise<string> {
  const program = join(packageFolder, 'test/addon/driver.cc');
  const names = (await readdir(core)).sort();
  const contents = await Promise.all(
    [program, ...names.map((name) => join(core, name))].map((path) => readFile(path)),
  );
  const folder = await cached('driver', contentKey(flags.join(' '), ...contents), async (draft) => {
    await runTool('g++', [
      ...flags,
      ...['-I', core, '-Wl,--wrap=timerfd_settime', program],
      ...sources.map((name) => join(core, `${name}.cc`)),
      ...['-o', join(draft, 'driver')],
    ]);
  });
  return join(folder, 'driver');
}

t.test('no driver of Linux waits for a clock of the device', async (t) => {
  const lines = (await runTool(await compile(), [])).trim().split('\n');
  t.ok(lines.length > 90, `${lines.length} scenarios`);
  t.same(
    lines.filter((line) => !line.startsWith('ok ')),
    [],
  );
});
