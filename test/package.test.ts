import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { foreignPackages, missingPackages } from './package-lock.js';

const repository = fileURLToPath(new URL('../..', import.meta.url));

/** A package that grows beyond this has something in it that it should not have. */
const MAX_TARBALL_BYTES = 4_000_000;

const run = (cwd: string, command: string, ...args: string[]) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

t.test('the package is well-formed', async (t) => {
  const { publint } = await import('publint');
  const { formatMessage } = await import('publint/utils');
  const { messages, pkg } = await publint({ pkgDir: repository, strict: true });
  t.same(
    messages.map((message) => formatMessage(message, pkg)),
    [],
  );
});

t.test('the lock is complete, for every platform', async (t) => {
  const lock = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8'));
  t.same(missingPackages(lock), []);
  t.ok(foreignPackages(lock).includes('@esbuild/win32-x64'), 'npm leaves out what it names so');
});

t.test(
  'CBOR is read and written by JavaScript alone, whatever helpers are installed',
  async (t) => {
    const script = `
    import '${new URL('../src/index.js', import.meta.url)}';
    import { isNativeAccelerationEnabled } from 'cbor-x/decode';
    console.log(isNativeAccelerationEnabled);`;
    t.equal(run(repository, process.execPath, '--input-type=module', '-e', script), 'false\n');
  },
);

t.test('the package has the pages that README.md leads to, and its types resolve', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waep-package-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const packed = run(
    repository,
    'npm',
    ...['pack', '--json', '--ignore-scripts', '--pack-destination', folder],
  );
  const [{ files, filename, size }] = JSON.parse(packed);
  t.ok(size < MAX_TARBALL_BYTES, `${size} bytes`);
  const paths = files.map(({ path }: { path: string }) => path);
  const readme = readFileSync(join(repository, 'README.md'), 'utf8');
  const links = [...readme.matchAll(/\]\(([^):#]+)(?:#[^)]*)?\)/g)].map(([, path = '']) => path);
  for (const path of ['README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md', ...links]) {
    const there = paths.some((one: string) => one === path || one.startsWith(`${path}/`));
    t.ok(there, path);
  }
  const attw = join(repository, 'node_modules/@arethetypeswrong/cli/dist/index.js');
  const tarball = join(folder, filename);
  t.match(
    run(folder, process.execPath, attw, tarball, '--profile', 'esm-only', '--no-color'),
    /"waep\/transport"/,
  );
});

t.test('the addon asks for no GLIBC above 2.28, and its programs for none', async (t) => {
  const symbols = (name: string) =>
    run(repository, 'objdump', '--dynamic-syms', join('prebuilds/linux-x64', name));
  const versions = [...symbols('waep.node').matchAll(/GLIBC_2\.(\d+)/g)].map(([, one]) =>
    Number(one),
  );
  t.ok(versions.length > 0);
  t.ok(Math.max(...versions) <= 28, `2.${Math.max(...versions)}`);
  for (const name of ['waep-executor', 'waep-keeper', 'waep-launch']) {
    t.notMatch(symbols(name), /GLIBC_/, name);
  }
});
