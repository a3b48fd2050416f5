import { execFile } from 'node:child_process';
import { chmodSync, copyFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { findTool } from '../../guest/tools.js';
import { packageFolder } from '../../src/paths.js';

interface Result {
  status: number | string;
  stdout: string;
  stderr: string;
}

function waep(root: string, args: readonly string[], path: string): Promise<Result> {
  const { WAEP_NATIVE_DIR: _, ...env } = process.env;
  return new Promise((resolve) => {
    const options = { env: { ...env, NODE_OPTIONS: '', PATH: path } };
    execFile('/bin/sh', [join(root, 'bin/waep'), ...args], options, (error, stdout, stderr) => {
      resolve({ status: error?.code ?? 0, stdout, stderr });
    });
  });
}

const builds = `
  import { mkdirSync, writeFileSync } from 'node:fs';
  console.log('building for', process.argv[2]);
  const folder = new URL('../dist/cli/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL('waep.cjs', folder), 'console.log(process.argv.slice(2).join(" "))');`;

t.test('a clone that is not built is built first, whatever the command', async (t) => {
  for (const args of [['doctor', '--json'], ['run', '--vm', 'x', 'y'], []]) {
    const root = t.testdir({ bin: {}, scripts: { 'setup.mjs': builds } });
    copyFileSync(join(packageFolder, 'bin/waep'), join(root, 'bin/waep'));
    const { PATH = '' } = process.env;
    t.same(await waep(root, args, PATH), {
      status: 0,
      stdout: `${args.join(' ')}\n`,
      stderr: 'waep: not built yet; building\nbuilding for build\n',
    });
    t.match(await waep(root, args, PATH), { status: 0, stderr: '' }, 'once');
  }
});

t.test('it is not built by a Node that is too old', async (t) => {
  const node = '#!/bin/sh\ncase $1 in -p) echo false;; --version) echo v12.22.12;; esac\n';
  const root = t.testdir({ bin: { node }, scripts: { 'setup.mjs': builds } });
  chmodSync(join(root, 'bin/node'), 0o755);
  copyFileSync(join(packageFolder, 'bin/waep'), join(root, 'bin/waep'));
  t.same(await waep(root, ['doctor'], join(root, 'bin')), {
    status: 1,
    stdout: '',
    stderr: 'waep: this is Node v12.22.12; install Node 20 or later\n',
  });
});

t.test('what cannot be built says so, and is not started', async (t) => {
  const fails = "console.error('setup: no compiler'); process.exitCode = 1;";
  const root = t.testdir({ bin: {}, scripts: { 'setup.mjs': fails } });
  copyFileSync(join(packageFolder, 'bin/waep'), join(root, 'bin/waep'));
  t.same(await waep(root, ['doctor'], process.env.PATH ?? ''), {
    status: 1,
    stdout: '',
    stderr: 'waep: not built yet; building\nsetup: no compiler\n',
  });
});

t.test('a package that lacks its program, and a machine that lacks Node', async (t) => {
  const root = t.testdir({ bin: {}, path: {} });
  copyFileSync(join(packageFolder, 'bin/waep'), join(root, 'bin/waep'));
  const { status, stderr } = await waep(root, ['vm'], process.env.PATH ?? '');
  t.equal(status, 1);
  t.match(stderr, /^waep: .*waep\.cjs is missing; install the package again\n$/);

  symlinkSync(findTool('readlink') ?? '', join(root, 'path/readlink'));
  t.same(await waep(root, ['vm'], join(root, 'path')), {
    status: 127,
    stdout: '',
    stderr: 'waep: there is no node on the PATH; install Node 20 or later\n',
  });
});
