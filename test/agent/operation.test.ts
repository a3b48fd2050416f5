import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import t from 'tap';
import { AuditLog } from '../../guest/agent/audit.js';
import { findTool } from '../../guest/tools.js';
import { enums, insn } from '../../src/bpf/index.js';
import { FrameType, messageFrame } from '../../src/frame/index.js';
import { Authority } from '../../src/keys.js';
import { native } from '../../src/native.js';
import { agentPath } from '../../src/paths.js';
import { outputPipe } from '../../src/run/index.js';
import { Session } from '../../src/session.js';
import type { TlsRole } from '../../src/tls-role.js';
import { stepsOf } from '../docs/console.js';
import { ringsOf } from '../rings.js';
import { until } from '../until.js';
import { type AgentProcess, agentProcess, folderOf } from './agent-process.js';
import { Client } from './client.js';

const lines = (file: string): Record<string, unknown>[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

const map = { type: 2, keySize: 4, valueSize: 4, maxEntries: 1 } as const;

/** Sends SIGHUP and waits until the agent has said what came of it. */
async function reload(agent: AgentProcess): Promise<string> {
  const before = agent.stderr().length;
  agent.child.kill('SIGHUP');
  return until(
    () => `a word on the reload; it says ${agent.stderr().slice(before)}`,
    () => /.*(?:not )?reloaded.*/.exec(agent.stderr().slice(before))?.[0],
  );
}

t.test('a Node that has been replaced, and sends nothing, is not waited for', async (t) => {
  const folder = folderOf(t);
  const node = join(folder, 'node');
  copyFileSync(process.execPath, node);
  const before = ['sh', '-c', `shift; exec ${node} "$@"`, 'sh'];
  const agent = await agentProcess(t, ['--quiet'], {}, before);
  await (await Session.connect(agent.address)).close();
  writeFileSync(`${node}.new`, '#!/bin/sh\nexit 0\n', { mode: 0o755 });
  renameSync(`${node}.new`, node);
  t.match(await reload(agent), /not reloaded: .* What was read before stays in force/);
  await (await Session.connect(agent.address)).close();
});

t.test('SIGHUP has the policy read again', async (t) => {
  const folder = folderOf(t);
  const policy = join(folder, 'policy.yaml');
  const log = join(folder, 'audit.log');
  writeFileSync(policy, 'profile: full\nname: before\n');
  const agent = await agentProcess(t, ['--policy', policy, '--audit', log, '--quiet']);
  t.same(ringsOf(agent.child.pid ?? 0), []);
  await using before = await Session.connect(agent.address);
  t.equal(before.profile, 'before');

  writeFileSync(policy, 'profile: full\nname: after\nmap_types: [hash]\n');
  t.match(await reload(agent), /waep-agent: reloaded; sessions begin under the policy after/);
  await using after = await Session.connect(agent.address);
  t.equal(after.profile, 'after');
  await t.rejects(after.createMap(map), { code: 'ERR_POLICY_REFUSED', message: /map_types/ });
  await t.resolves(before.createMap(map), 'an open session keeps its rules');

  writeFileSync(policy, 'profile: full\nmap_types: [hsah]\n');
  const why = /policy\.yaml:2:\d+: found hsah; .*/;
  const said =
    /not reloaded: .*policy\.yaml:2:\d+: found hsah; .* What was read before stays in force/;
  t.match(await reload(agent), said);
  t.match(agent.stderr(), /policy\.yaml:2:\d+: found hsah/);
  await using still = await Session.connect(agent.address);
  t.equal(still.profile, 'after');
  await t.rejects(still.createMap(map), { code: 'ERR_POLICY_REFUSED' });

  renameSync(log, `${log}.moved`);
  writeFileSync(policy, 'profile: observe\n');
  await reload(agent);
  t.match(lines(log), [{ event: 'reloaded', policy: 'observe' }], 'the log was begun anew');
  t.match(
    lines(`${log}.moved`).filter(({ event }) => String(event).includes('reloaded')),
    [
      { event: 'reloaded', policy: 'after' },
      { event: 'not reloaded', why },
    ],
  );
});

t.test(
  "a hook that this kernel does not have is warned of, by the policy's own word",
  async (t) => {
    const policy = join(folderOf(t), 'policy.yaml');
    writeFileSync(policy, 'profile: observe\nhooks: [sys_enter, no_such_hook_*]\n');
    const agent = await agentProcess(t, ['--policy', policy, '--quiet']);
    const warning =
      /warning: the policy's hook "(.*)" is the name of no function and no tracepoint/g;
    const warned = () => [...agent.stderr().matchAll(warning)].map(([, hook]) => hook);
    await until('a warning', () => warned().length > 0);
    t.same(warned(), ['no_such_hook_*']);
  },
);

t.test('--strict-reload ends the sessions that are open', async (t) => {
  const agent = await agentProcess(t, ['--strict-reload', '--quiet']);
  const session = await Session.connect(agent.address);
  const closed = new Promise<Error>((resolve) => session.onClose(resolve));
  await reload(agent);
  t.match((await closed).message, /the guest ended the connection/);
  (await Session.connect(agent.address)).close();
});

t.test('SIGTERM gives sessions their time, and the log their ends', async (t) => {
  const log = join(folderOf(t), 'audit.log');
  const agent = await agentProcess(t, ['--audit', log, '--stop-timeout', '60s']);
  const first = await Session.connect(agent.address, { leaseMs: 60_000 });
  const second = await Session.connect(agent.address);
  agent.child.kill('SIGTERM');
  const path = agent.address.slice('unix:'.length);
  await until(
    'nobody to listen',
    () =>
      new Promise<boolean>((resolve) => {
        const probe = connect(path, () => probe.end());
        probe.once('error', () => resolve(true)).once('close', () => resolve(false));
      }),
  );
  await second.createMap(map);
  second.close();
  await until('its end', () => lines(log).some(({ event }) => event === 'ended'));
  agent.child.kill('SIGTERM');
  t.equal(await agent.exit, 0, 'a second signal ends what is left');
  first.close();
  const ended = lines(log).filter(({ event }) => event === 'ended');
  t.match(ended, [
    { session: 2, report: { calls: 1 } },
    { session: 1, report: { calls: 0 } },
  ]);
});

/** The processes that a process has started, and those that they have started. */
function descendants(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim();
  return children
    .split(' ')
    .filter((one) => one !== '')
    .flatMap((one) => [Number(one), ...descendants(Number(one))]);
}

t.test('what a signal to all of its processes means, the agent decides', async (t) => {
  const agent = await agentProcess(t, ['--quiet', '--stop-timeout', '60s']);
  await using session = await Session.connect(agent.address);
  const others = descendants(agent.child.pid as number);
  // A keeper, its executor, and the process that reads the files again.
  t.ok(others.length >= 3);
  const send = (signal: NodeJS.Signals) => {
    for (const pid of others) process.kill(pid, signal);
  };
  send('SIGINT');
  send('SIGHUP');
  t.match(await reload(agent), /waep-agent: reloaded/);
  (await Session.connect(agent.address)).close();
  send('SIGTERM');
  agent.child.kill('SIGTERM');
  await session.createMap(map);
  session.close();
  t.equal(await agent.exit, 0);
});

t.test('who has connected before a reload is judged by what was read then', async (t) => {
  const agent = await agentProcess(t, ['--quiet']);
  const early = new Client(agent.address);
  t.teardown(() => early.close());
  // The agent has accepted the connection by the time at which it answers another one.
  (await Session.connect(agent.address)).close();
  await reload(agent);
  early.send(messageFrame(FrameType.HELLO, 0, { protocol: 1, client: 'early' }));
  t.match(await early.error(), {
    code: 'ERR_PEER_REFUSED',
    detail: { why: /has read its configuration again meanwhile; connect once more/ },
  });
  (await Session.connect(agent.address)).close();
});

t.test('a signal may come as soon as the agent says that it listens', async (t) => {
  for (const signal of ['SIGHUP', 'SIGTERM'] as const) {
    const address = `unix:${join(folderOf(t), 'agent.sock')}`;
    const child = spawn(process.execPath, [agentPath, '--quiet', '--listen', address], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    await once(child.stdout, 'data');
    child.kill(signal);
    if (signal === 'SIGHUP') {
      await until('the reload', () => said.includes('reloaded; sessions begin'));
      child.kill('SIGTERM');
    }
    t.same(await once(child, 'exit'), [0, null], signal);
  }
});

t.test('a service manager is told', async (t) => {
  const folder = folderOf(t);
  const path = join(folder, 'notify');
  const script = `import socket,sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True: print(s.recv(4096).decode().replace('\\n', ' '), flush=True)`;
  const listener = spawn('python3', ['-c', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => listener.kill('SIGKILL'));
  let told = '';
  listener.stdout.setEncoding('utf8').on('data', (text: string) => {
    told += text;
  });
  await until('a listener', () => told.includes('bound'));
  const agent = await agentProcess(t, ['--quiet'], {
    NOTIFY_SOCKET: path,
    WATCHDOG_USEC: '100000',
  });
  await until('READY', () => told.includes('READY=1'));
  await until('a sign of life', () => told.includes('WATCHDOG=1'));
  await reload(agent);
  await until('a reload', () => /RELOADING=1 MONOTONIC_USEC=\d+[\s\S]*READY=1/.test(told));
  agent.child.kill('SIGTERM');
  t.equal(await agent.exit, 0);
  await until('STOPPING', () => told.includes('STOPPING=1'));
});

const noSystemd = findTool('systemd-analyze') === undefined && 'systemd-analyze is not installed';
t.test('the units of the page on reloading are understood', { skip: noSystemd }, (t) => {
  const folder = folderOf(t);
  const units: string[] = [];
  for (const step of stepsOf('docs/operate/reload.md')) {
    if (!('file' in step) || !/\.(service|path)$/.test(step.file)) continue;
    writeFileSync(join(folder, step.file), step.text);
    units.push(join(folder, step.file));
  }
  t.equal(units.length, 3);
  const { stderr } = spawnSync('systemd-analyze', ['verify', ...units], { encoding: 'utf8' });
  // What lacks a path of these is about a program or a unit that this machine has not.
  t.same(
    stderr.split('\n').filter((line) => line.startsWith(folder)),
    [],
  );
  t.end();
});

t.test('a connection that says nothing is no refusal', async (t) => {
  for (const level of ['info', 'debug']) {
    const agent = await agentProcess(t, ['--log-level', level]);
    const probe = connect(agent.address.slice('unix:'.length));
    await new Promise((resolve) => probe.once('connect', resolve));
    probe.end();
    const session = await Session.connect(agent.address);
    session.close();
    await until('an end', () => agent.stdout().includes('"event":"ended"'));
    t.notMatch(agent.stdout(), /"event":"refused"/);
    const told = () => agent.stdout().includes('"event":"silent"');
    if (level === 'debug') await until('word of it', told);
    else t.notOk(told());
    agent.child.kill('SIGKILL');
    await agent.exit;
  }
});

t.test('the log of an agent that is quiet', async (t) => {
  const log = join(folderOf(t), 'audit.log');
  const agent = await agentProcess(t, ['--quiet', '--audit', log]);
  (await Session.connect(agent.address)).close();
  await until('an end', () => existsSync(log) && lines(log).some(({ event }) => event === 'ended'));
  t.equal(agent.stdout(), `waep-agent: listening on ${agent.address}\n`);
});

t.test('a full disk leaves no torn line, and is told', async (t) => {
  const folder = folderOf(t);
  const image = join(folder, 'disk');
  mkdirSync(image);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'none', image]);
  t.teardown(() => execFileSync('umount', ['-l', image]));
  const target = join(image, 'audit.log');
  const told: Error[] = [];
  const log = new AuditLog({
    target,
    maxBytes: 1e6,
    keep: 1,
    failed: (error) => told.push(error),
  });
  for (let i = 0; i < 400; i++) log.write('noise', { text: 'x'.repeat(100) });
  t.match(told, [{ code: 'ENOSPC' }], 'once');
  const kept = lines(target).length;
  t.ok(kept > 50 && kept < 400);
  execFileSync('mount', ['-o', 'remount,size=1m', image]);
  log.write('after', {});
  t.match(lines(target).slice(kept), [
    { event: 'lost', lines: 400 - kept, why: /ENOSPC/ },
    { event: 'after' },
  ]);
});

t.test('a disk that is full at the start is an error', async (t) => {
  const agent = await agentProcess(t, ['--audit', '/dev/full']);
  t.equal(await agent.exit, 1);
  t.match(agent.stderr(), /Invalid --audit: "\/dev\/full". Expected a log .*ENOSPC/);
});

t.test('standard output as the log', async (t) => {
  const agent = await agentProcess(t, ['--quiet', '--audit', '-']);
  (await Session.connect(agent.address)).close();
  await until('an end', () => agent.stdout().includes('"event":"ended"'));
  const [begun, listening, ...rest] = agent.stdout().trim().split('\n');
  t.match(JSON.parse(begun ?? ''), { event: 'begun', policy: 'observe' });
  t.equal(listening, `waep-agent: listening on ${agent.address}`);
  t.match(
    rest.map((line) => JSON.parse(line)),
    [{ event: 'session' }, { event: 'ended', report: {} }],
  );
});

t.test('standard output that is not read in time has whole lines', async (t) => {
  const module = new URL('../../guest/agent/audit.js', import.meta.url);
  const script = `import { AuditLog } from ${JSON.stringify(module)};
    process.stdout.once('error', () => {});
    const log = new AuditLog({ target: '-' });
    for (let number = 0; number < 100; number++) log.write('noise', { number, text: 'x'.repeat(9000) });
    process.stderr.write('full');
    process.stdin.once('data', () => { log.write('last', {}); process.exit(); });`;
  const { output, input } = outputPipe();
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['pipe', input, 'pipe'],
  });
  native.close(input);
  await once(child.stderr as Readable, 'data');
  let text = '';
  output.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await until('the first line', () => text.includes('"number":0'));
  (child.stdin as Writable).write('.');
  await once(output, 'end');
  const all = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.match(all.at(-1), { event: 'last' });
  const lost = all.filter(({ event }) => event === 'lost').reduce((sum, one) => sum + one.lines, 0);
  t.ok(lost > 0);
  t.equal(all.filter(({ event }) => event === 'noise').length + lost, 100);
});

t.test("the machine's log", async (t) => {
  const folder = folderOf(t);
  const listener = `import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind('/dev/log')
out = open('log', 'wb', 0)
open('bound', 'w')
while True: out.write(s.recv(65536) + b'\\n')`;
  // A /dev of its own, so that this machine's stays as it is.
  const script = `set -e
cd "$0"; mkdir dev; mount -t tmpfs none dev
for name in null zero full random urandom; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mount --rbind dev /dev
setpriv --pdeathsig KILL python3 -c "$1" & until [ -e bound ]; do sleep 0.1; done
shift; exec "$@"`;
  const before = ['unshare', '--mount', 'sh', '-c', script, folder, listener];
  const agent = await agentProcess(t, ['--quiet', '--audit', 'syslog'], {}, before);
  (await Session.connect(agent.address)).close();
  const log = () => readFileSync(join(folder, 'log'), 'utf8');
  await until('an end', () => log().includes('"event":"ended"'));
  const own = `waep-agent[${agent.child.pid}]: `;
  for (const line of log().trim().split('\n')) {
    // authpriv, of the level info.
    t.ok(line.startsWith(`<86>${own}`), line);
    JSON.parse(line.slice(line.indexOf(own) + own.length));
  }
});

t.test('a file that cannot be renamed leaves the older ones alone', async (t) => {
  const target = join(folderOf(t), 'audit.log');
  writeFileSync(target, '');
  writeFileSync(`${target}.1`, '{"event":"old"}\n');
  // A mount point, as for a single file in a container.
  execFileSync('mount', ['--bind', target, target]);
  t.teardown(() => execFileSync('umount', ['-l', target]));
  const told: Error[] = [];
  const log = new AuditLog({ target, maxBytes: 1000, keep: 2, failed: (why) => told.push(why) });
  for (let number = 0; number < 100; number++) log.write('noise', { number });
  t.match(told, [{ code: 'EBUSY' }], 'it is told once');
  t.match(lines(`${target}.1`), [{ event: 'old' }]);
  t.notOk(existsSync(`${target}.2`));
});

t.test('a log that was cut short goes on in a line of its own', async (t) => {
  const target = join(folderOf(t), 'audit.log');
  writeFileSync(target, '{"event":"whole"}\n{"event":"ha');
  new AuditLog({ target, maxBytes: 1e6, keep: 1 }).write('next', {});
  const [whole, half, next] = readFileSync(target, 'utf8').split('\n');
  t.equal(whole, '{"event":"whole"}');
  t.equal(half, '{"event":"ha');
  t.match(JSON.parse(next ?? ''), { event: 'next' });
});

t.test('as many files are kept as asked for', async (t) => {
  const target = join(folderOf(t), 'audit.log');
  const log = new AuditLog({ target, maxBytes: 1000, keep: 3 });
  for (let number = 0; number < 200; number++) log.write('noise', { number });
  const numbers = [`${target}.3`, `${target}.2`, `${target}.1`, target].flatMap((file) =>
    lines(file).map(({ number }) => number),
  );
  t.notOk(existsSync(`${target}.4`));
  t.same(
    numbers,
    numbers.map((_, i) => 200 - numbers.length + i),
    'without a gap',
  );
  t.ok(statSync(target).size <= 1000);
});

t.test('a client cannot push out the traces of what it has done', async (t) => {
  const target = join(folderOf(t), 'audit.log');
  const log = new AuditLog({ target, maxBytes: 20_000, keep: 2 });
  const by = (peer: string) => ({ peer, client: 'x', text: 'y'.repeat(60) });
  log.write('program', { ...by('host(2):1000'), name: 'evil' });
  for (let i = 0; i < 5000; i++) log.write('refused', by(`host(2):${i}`), 'warning');
  log.write('program', { ...by('host(2):1023'), name: 'more evil' });
  log.write('refused', by('vm(7):1023'), 'warning');
  const all = [`${target}.2`, `${target}.1`, target].flatMap((file) =>
    existsSync(file) ? lines(file) : [],
  );
  t.match(
    all.filter(({ event }) => event === 'program'),
    [{ name: 'evil' }, { name: 'more evil' }],
  );
  t.ok(all.length < 100);
  t.match(all.at(-1), { event: 'refused', peer: 'vm(7):1023' }, 'others have a share of their own');
});

t.test('what an executor tells cannot pass for who it was', (t) => {
  const target = join(folderOf(t), 'audit.log');
  const agent = new EventEmitter();
  const log = new AuditLog({ target, maxBytes: 20_000, keep: 2 });
  log.follow(agent as never);
  const call = { event: 'map', command: 'BPF_MAP_CREATE', peer: 'another', session: 9, time: 'x' };
  agent.emit('call', { session: 1, peer: 'host(2):7', client: 'c', call, dropped: 0 });
  const [line] = lines(target);
  t.match(line, { event: 'map', session: 1, peer: 'host(2):7', client: 'c' });
  t.not(line?.time, 'x');
  t.end();
});

async function authority() {
  const made = await Authority.create('authority', 2);
  const issue = async (role: TlsRole, name: string, days = 2) => ({
    ...(await made.issue(role, name, days)),
    ca: made.cert,
  });
  return { made, issue };
}

t.test('revoked, expired, unknown: both sides say why', async (t) => {
  const folder = folderOf(t);
  const { made, issue } = await authority();
  const identity = await issue('agent', 'agent');
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  file('ca.crt', made.cert);
  file('agent.crt', identity.cert);
  file('agent.key', identity.key);
  const [alice, bob] = [await issue('client', 'alice'), await issue('client', 'bob')];
  const agent = await agentProcess(t, ['--keys', folder]);
  (await Session.connect(agent.address, { tls: alice })).close();

  file('crl.pem', await made.revoke(alice.cert, 2));
  t.match(await reload(agent), /waep-agent: reloaded/);
  const revoked = /its certificate does not hold: it has been revoked.*--tls-crl/;
  await t.rejects(Session.connect(agent.address, { tls: alice }), {
    code: 'ERR_PEER_REFUSED',
    message: revoked,
  });
  await until('its reason', () => revoked.test(agent.stdout()));
  (await Session.connect(agent.address, { tls: bob })).close();

  const both = await made.revoke(bob.cert, 2, readFileSync(join(folder, 'crl.pem'), 'utf8'));
  file('crl.pem', both);
  await reload(agent);
  for (const tls of [alice, bob]) {
    await t.rejects(Session.connect(agent.address, { tls }), { message: revoked });
  }
  file('crl.pem', 'no list at all');
  t.match(await reload(agent), /not reloaded/);
  t.match(
    agent.stderr(),
    /Invalid --keys \(.*crl\.pem\): "no list at all"\. Expected a certificate revocation list in PEM/,
  );
  unlinkSync(join(folder, 'crl.pem'));
  await reload(agent);

  const expired = await issue('client', 'late', -0.5);
  const late = /its certificate does not hold: it has expired on .* by the clock of the agent/;
  await t.rejects(Session.connect(agent.address, { tls: expired }), { message: late });
  await until('its reason', () => late.test(agent.stdout()));
  const stranger = await authority();
  const unknown = { ...(await stranger.issue('client', 'who')), ca: made.cert };
  const nobody = /it was signed by an authority that (the agent|this client) does not know/;
  await t.rejects(Session.connect(agent.address, { tls: unknown }), { message: nobody });
  await until('its reason', () => nobody.test(agent.stdout()));
  await t.rejects(Session.connect(agent.address, { tls: { ...bob, ca: stranger.made.cert } }), {
    code: 'ERR_TLS_CERTIFICATE',
    message: nobody,
  });
  await t.rejects(
    Session.connect(agent.address, { tls: { ...bob, crl: await made.revoke(identity.cert, 2) } }),
    {
      code: 'ERR_TLS_CERTIFICATE',
      message: revoked,
    },
  );
  await t.rejects(Session.connect(agent.address, { handshakeTimeoutMs: 60_000 }), {
    message: /give --keys/,
  });
  await until('its reason', () => agent.stdout().includes('it does not speak TLS'));
});

t.test('TLS asked of an agent that has none', async (t) => {
  const agent = await agentProcess(t, []);
  const { issue } = await authority();
  await t.rejects(Session.connect(agent.address, { tls: await issue('client', 'c') }), {
    code: 'ERR_TLS_PLAIN',
    message: /does not speak TLS/,
  });
});

t.test('files that are none are errors at the start', async (t) => {
  const folder = folderOf(t);
  const { made, issue } = await authority();
  const [one, other] = [await issue('agent', 'agent'), await issue('agent', 'other')];
  const old = await issue('agent', 'old', -0.5);
  const good = { 'ca.crt': made.cert, 'agent.crt': one.cert, 'agent.key': one.key };
  const says = async (files: Partial<typeof good>, expected: RegExp) => {
    for (const [name, text] of Object.entries({ ...good, ...files })) {
      writeFileSync(join(folder, name), text);
    }
    const agent = await agentProcess(t, ['--keys', folder]);
    t.equal(await agent.exit, 1);
    t.match(agent.stderr(), expected);
  };
  await says(
    { 'ca.crt': 'nothing' },
    /Invalid --keys \(.*ca\.crt\): "nothing"\. Expected a certificate in PEM/,
  );
  await says(
    { 'agent.key': 'nothing' },
    /\(.*agent\.key\): "nothing"\. Expected a private key in PEM/,
  );
  await says({ 'agent.key': other.key }, /Expected the key that belongs to .*agent\.crt/);
  await says(
    { 'agent.crt': old.cert, 'agent.key': old.key },
    /a certificate that is valid from .* Expected one that is valid by the clock/,
  );
});

t.test('perf events on tracepoints are told by name, refused ones too', async (t) => {
  const folder = folderOf(t);
  const policy = join(folder, 'policy.yaml');
  writeFileSync(policy, 'profile: observe\nhooks: [sched_switch]\n');
  const log = join(folder, 'audit.log');
  const agent = await agentProcess(t, ['--policy', policy, '--audit', log, '--quiet']);
  await using session = await Session.connect(agent.address);
  const program = await session.loadProgram({
    type: enums.ProgType.BPF_PROG_TYPE_TRACEPOINT,
    instructions: insn.program(insn.mov('r0', 0), insn.exit()),
    license: 'GPL',
    name: 'watcher',
  });
  await program.attachTracepoint('sched/sched_switch');
  await t.rejects(program.attachTracepoint('sched/sched_wakeup'), { code: 'ERR_POLICY_REFUSED' });
  await until('a refusal', () => lines(log).some(({ event }) => event === 'refused'));
  const told = (wanted: string) => lines(log).filter(({ event }) => event === wanted);
  t.match(told('perf_event'), [{ tracepoint: 'sched:sched_switch' }]);
  t.match(told('attach'), [{ tp_name: 'sched_switch', prog_id: /^\d+$/, link_id: /^\d+$/ }]);
  t.match(told('refused'), [{ tracepoint: 'sched:sched_wakeup' }]);
});
