import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';

t.setTimeout(3_600_000);

t.test('npx waep doctor in a fresh clone', async (t) => {
  const clone = join(t.testdir({ clone: {} }), 'clone');
  const options = { cwd: packageFolder, encoding: 'utf8' } as const;
  // Not "git clone", so that what is not committed yet is tried, too.
  const files = execFileSync('git', ['ls-files', '--cached', '-z'], options).split('\0');
  for (const file of files.filter((name) => existsSync(join(packageFolder, name)))) {
    if (file === '') continue;
    mkdirSync(dirname(join(clone, file)), { recursive: true });
    copyFileSync(join(packageFolder, file), join(clone, file));
  }
  const env = { ...process.env, NODE_OPTIONS: '' };
  const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve) => {
    execFile('npx', ['waep', 'doctor', '--json'], { cwd: clone, env }, (_, stdout, stderr) =>
      resolve({ stdout, stderr }),
    );
  });
  t.match(stderr, /^waep: not built yet; building$/m);
  t.match(stderr, /^✔ building the addon /m);
  const { purposes } = JSON.parse(stdout);
  t.match(purposes, [{ purpose: 'build', ready: true }, { purpose: 'guest' }]);
});
