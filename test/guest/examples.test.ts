/* The programs of examples/, each run against a guest. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';
import { startSshd } from '../ecosystem/hosts.js';
import { bootServers, ecosystemFiles } from '../ecosystem/places.js';
import { programs } from '../ecosystem/programs.js';
import { shellCommand } from '../shell.js';

t.setTimeout(600_000);

const folder = join(packageFolder, 'examples');
const run = async (command: string, ...args: string[]) =>
  (await promisify(execFile)(command, args, { cwd: packageFolder, timeout: 120_000 })).stdout;
const done: string[] = [];
const example = (name: string, ...args: string[]) => {
  done.push(name);
  return run(process.execPath, join(folder, name), ...args);
};

t.test('in a guest', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'waep-'));
  t.teardown(() => rmSync(home, { recursive: true, force: true }));
  await using sshd = await startSshd(home);
  await using guest = await bootServers(
    { report: () => {}, sshd },
    {
      files: await ecosystemFiles(home),
      vsock: 'device',
      agent: { profile: 'full' },
      modules: ['veth'],
      pulse: true,
      deadlineMs: 240_000,
      notice: () => {},
    },
  );

  await t.test('over vsock alone', async (t) => {
    const at = (name: string) =>
      guest.vsock(7301 + programs.findIndex((program) => program.name === name));
    t.equal(await example('transport/http.mjs', at('http'), '/a'), '200\nGET /a 0');
    t.equal(await example('transport/fetch.mjs', at('undici'), '/b'), '200\nGET /b 0');
    t.equal(await example('transport/websocket.mjs', at('ws'), 'good day'), 'good day\n');
    t.equal(await example('transport/http2.mjs', at('http2'), 'good day'), 'good day\n');
    const proxy = [process.execPath, join(folder, 'transport/proxy-command.mjs'), at('ssh')];
    done.push('transport/proxy-command.mjs');
    const through = `ProxyCommand=${shellCommand(proxy)}`;
    const words = ['-o', through, ...sshd.arguments, 'echo good day'];
    t.equal(await run('ssh', ...words), 'good day\n');
  });

  await t.test('with eBPF', async (t) => {
    const address = guest.vsock();
    t.match(await example('count-system-calls.mjs', address), /^system call \d+: \d+\n/);
    const executions = await example('follow-executions.mjs', address, '2');
    t.match(executions, /^\d+ \w+\n\d+ \w+\n$/);
    t.match(await example('histogram.mjs', address), /^ +\d+ ns +\d+ █+$/m);
    t.match(await example('kernel-stacks.mjs', address), /^\d+ times\n {2}\w+\n/);
    await guest.sh('ip link add name pair type veth; ip link set pair up; ip link set veth0 up');
    // It asks for the address of a machine that is not there, again and again.
    await guest.sh('ip addr add 10.9.9.1/24 dev veth0; ping 10.9.9.2 >/dev/null 2>&1 &');
    const packets = await example('xdp-on-a-veth.mjs', address, 'pair');
    t.match(packets, /^attached to pair, interface \d+\n[1-9]\d* packets\n$/);
  });
});

t.test('every example has been run, or not without a reason', async (t) => {
  const elsewhere: { readonly [name: string]: string } = {
    'transport/postgres.mjs': 'it needs PostgreSQL: npm run test:ecosystem connects in this way',
  };
  const all = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  t.same(
    all.filter((name) => name.endsWith('.mjs') && !(name in elsewhere)).sort(),
    [...done].sort(),
  );
});
