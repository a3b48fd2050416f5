import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import t, { type Test } from 'tap';
import { Session } from '../../src/index.js';
import { nativeFile } from '../../src/native.js';
import { agentPath } from '../../src/paths.js';
import { folderOf } from './agent-process.js';

const programs = ['waep.node', 'waep-keeper', 'waep-executor'];
const files = [agentPath, ...programs.map(nativeFile)];
const { WAEP_NATIVE_DIR: _, ...env } = process.env;

/** Copies what README.md names into an empty folder, but for these. */
function copied(t: Test, ...without: string[]): string {
  const folder = folderOf(t);
  for (const file of files.filter((file) => !without.includes(basename(file)))) {
    copyFileSync(file, join(folder, basename(file)));
  }
  return folder;
}

function start(
  folder: string,
): Promise<{ status: number | string; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const args = ['agent.cjs', '--listen', `unix:${join(folder, 's')}`];
    execFile(process.execPath, args, { cwd: folder, env }, (error, stdout, stderr) => {
      resolve({ status: error?.code ?? 0, stdout, stderr });
    });
  });
}

t.test('four files in a folder are an agent', async (t) => {
  const folder = copied(t);
  const address = `unix:${join(folder, 's')}`;
  const agent = spawn(process.execPath, ['agent.cjs', '--quiet', '--listen', address], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => agent.kill('SIGKILL'));
  const [line] = await once(agent.stdout, 'data');
  t.equal(String(line), `waep-agent: listening on ${address}\n`);
  await using session = await Session.connect(address);
  t.match(session.kernel.release, /^\d/);
});

t.test('an agent that cannot start says why in two lines', async (t) => {
  const needs =
    /^waep-agent: it needs Node 20 or later, and beside it waep\.node, waep-keeper and waep-executor/;
  const says = async (t: Test, folder: string, why: RegExp) => {
    const { status, stdout, stderr } = await start(folder);
    t.equal(status, 1);
    t.equal(stdout, '');
    const [first = '', second = '', ...more] = stderr.split('\n');
    t.match(first, /^waep-agent: it cannot start: /);
    t.match(first, why);
    t.match(second, needs);
    t.match(second, `This is Node ${process.version} with glibc `);
    t.same(more, [''], 'and nothing else');
  };
  for (const name of programs) {
    await t.test(`without ${name}`, (t) =>
      says(t, copied(t, name), new RegExp(`/${name}: no such file`)),
    );
  }
  await t.test('with an addon that is none', async (t) => {
    const folder = copied(t, 'waep.node');
    copyFileSync(join(folder, 'agent.cjs'), join(folder, 'waep.node'));
    await says(t, folder, /waep\.node: .*invalid ELF header/);
  });
  await t.test('with an executor that cannot be executed', async (t) => {
    const folder = copied(t);
    rmSync(join(folder, 'waep-executor'));
    copyFileSync(join(folder, 'agent.cjs'), join(folder, 'waep-executor'));
    chmodSync(join(folder, 'waep-executor'), 0o644);
    await says(t, folder, /EACCES.*waep-executor/);
  });
});

t.test('no line of the bundle is long, since Node shows the one that threw', async (t) => {
  const longest = Math.max(
    ...readFileSync(agentPath, 'utf8')
      .split('\n')
      .map((line) => line.length),
  );
  t.ok(longest < 4000, `${longest} characters`);
});
