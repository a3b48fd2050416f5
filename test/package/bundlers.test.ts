import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';

t.setTimeout(1_800_000);

const folder = mkdtempSync(join(tmpdir(), 'waep-bundlers-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const tool = (name: string) => join(folder, 'node_modules/.bin', name);

const PROGRAM = `
import { connect, createServer } from 'waep/transport';
import { rows, Session } from 'waep';

async function main([path]) {
  const server = createServer((peer) => peer.end('hello')).listen('unix:' + path);
  await new Promise((resolve) => server.once('listening', resolve));
  for await (const chunk of await connect('unix:' + path)) process.stdout.write(chunk);
  server.close();
  console.log(' ' + typeof Session.connect, rows.PROG_LOAD.name);
  // Nobody has this number: the question is what says so.
  await connect('vsock:4294967290:9').catch((error) => console.log(error.code, error.message));
}
main(process.argv.slice(2));
`;

writeFileSync(join(folder, 'package.json'), '{ "private": true, "name": "bundled" }');
writeFileSync(join(folder, 'program.mjs'), PROGRAM);
writeFileSync(
  join(folder, 'webpack.config.cjs'),
  `module.exports = { mode: 'production', target: 'node20', entry: './program.mjs', output: { path: __dirname + '/webpack', filename: 'bundle.cjs' } };`,
);
run(
  'npm',
  ...['install', '--no-audit', '--no-fund', 'esbuild', 'rollup', '@rollup/plugin-node-resolve'],
  ...['webpack', 'webpack-cli', '@vercel/ncc'],
);
symlinkSync(packageFolder, join(folder, 'node_modules/waep'));

interface Bundler {
  readonly file: string;
  /** Whether the bundle remembers where the package was, and finds the addon there. */
  readonly remembers?: boolean;
  bundle(): void;
}

const bundlers: Readonly<Record<string, Bundler>> = {
  'esbuild, ES modules': {
    file: 'esm/bundle.mjs',
    bundle: () =>
      run(
        tool('esbuild'),
        ...['program.mjs', '--bundle', '--platform=node', '--format=esm'],
        '--outfile=esm/bundle.mjs',
      ),
  },
  'esbuild, CommonJS': {
    file: 'cjs/bundle.cjs',
    bundle: () =>
      run(
        tool('esbuild'),
        ...['program.mjs', '--bundle', '--platform=node', '--format=cjs'],
        '--outfile=cjs/bundle.cjs',
      ),
  },
  rollup: {
    file: 'rollup/bundle.mjs',
    bundle: () =>
      run(
        tool('rollup'),
        ...['program.mjs', '--plugin', 'node-resolve', '--format', 'es'],
        ...['--file', 'rollup/bundle.mjs'],
      ),
  },
  webpack: { file: 'webpack/bundle.cjs', remembers: true, bundle: () => run(tool('webpack')) },
  ncc: {
    file: 'ncc/index.mjs',
    bundle: () => run(tool('ncc'), 'build', 'program.mjs', '--out', 'ncc'),
  },
};

for (const [name, { file, remembers = false, bundle }] of Object.entries(bundlers)) {
  t.test(name, async (t) => {
    bundle();
    // Far from the package: what is found is found beside the bundle.
    const away = mkdtempSync(join(tmpdir(), 'waep-bundle-'));
    t.teardown(() => rmSync(away, { recursive: true, force: true }));
    mkdirSync(join(away, 'app'));
    const extension = file.slice(file.lastIndexOf('.'));
    const program = join(away, `app/program${extension}`);
    copyFileSync(join(folder, file), program);
    const use = () => run(process.execPath, program, join(away, 'socket')).split('\n');

    const [greeting, without = ''] = use();
    t.equal(greeting, 'hello function BPF_PROG_LOAD', 'what needs no addon works without it');
    if (remembers) {
      t.match(without, /connect/);
      return;
    }
    t.match(without, /^ERR_ADDON_MISSING /);
    t.match(without, `The code is in ${program}, outside of the package. Copy prebuilds/`);

    copyFileSync(join(packageFolder, 'prebuilds/linux-x64/waep.node'), join(away, 'app/waep.node'));
    const [, beside = ''] = use();
    t.notMatch(
      beside,
      'ERR_ADDON_MISSING',
      'with the addon beside it, it is the kernel that answers',
    );
    t.match(beside, /connect/);
  });
}
