import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { foreignPackages, missingPackages } from './package-lock.js';
import { MAX_TARBALL_BYTES } from './tarball.js';

const repository = fileURLToPath(new URL('../..', import.meta.url));

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

t.test(
  'a platform that the addon is not made for is told so, and has tcp: and unix:',
  async (t) => {
    const script = `
    Object.defineProperty(process, 'arch', { value: 'riscv64' });
    const { connect, createServer } = await import('${new URL('../src/transport/index.js', import.meta.url)}');
    const server = createServer((peer) => peer.end('hello')).listen('unix:' + process.argv[1]);
    await new Promise((resolve) => server.once('listening', resolve));
    for await (const chunk of await connect('unix:' + process.argv[1])) process.stdout.write(chunk);
    server.close();
    await connect('vsock:3:1').catch(({ code, message }) => console.log('', code, message));`;
    const folder = mkdtempSync(join(tmpdir(), 'waep-package-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const socket = join(folder, 's');
    t.equal(
      run(repository, process.execPath, '--input-type=module', '-e', script, socket),
      'hello ERR_PLATFORM The addon, which only tcp: and unix: do without, is made for linux-x64 and linux-arm64 only; this is linux-riscv64.\n',
    );
  },
);

t.test('the addon needs GLIBC 2.28 or musl, and its programs need none', async (t) => {
  const dynamic = run(repository, 'readelf', '--dynamic', 'prebuilds/linux-x64/waep.node');
  const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name]) => name);
  t.same(needed, ['libc.so.6'], 'musl knows it by this name, and has no loader of GLIBC');
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
