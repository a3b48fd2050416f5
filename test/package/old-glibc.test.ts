import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { fetchPackage } from '../../guest/image/debian.js';

t.setTimeout(1_200_000);

// GLIBC 2.31, in the suite before the one that the addon is built on.
t.test('the addon loads with the C library of Debian 11', async (t) => {
  const folders = await Promise.all(
    ['libc6', 'libstdc++6', 'libgcc-s1'].map(async (name) => {
      const { folder } = await fetchPackage(name, { suite: 'bullseye' });
      return ['lib', 'usr/lib'].map((place) => join(folder, place, 'x86_64-linux-gnu'));
    }),
  );
  const libraries = folders.flat();
  const loader = join(libraries[0] as string, 'ld-linux-x86-64.so.2');
  const addon = fileURLToPath(new URL('../../../prebuilds/linux-x64/waep.node', import.meta.url));
  const script = `
    const { glibcVersionRuntime } = process.report.getReport().header;
    const { tryLock } = require(${JSON.stringify(addon)});
    console.log(glibcVersionRuntime, typeof tryLock);`;
  const words = ['--library-path', libraries.join(':'), process.execPath, '-e', script];
  t.equal(execFileSync(loader, words, { encoding: 'utf8' }), '2.31 function\n');
});
