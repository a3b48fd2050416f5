import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { makeKeys } from '../../cli/keys.js';
import { type AgentProcess, agentProcess } from '../agent/agent-process.js';
import { localAgent } from '../agent/local-agent.js';
import { breakableTransport } from '../agent/transport.js';
import { freePort } from '../ecosystem/hosts.js';
import { bridge, startFakeMux } from '../transport/fake-mux.js';
import { until } from '../until.js';
import { application, cli } from './application.js';
import { start as startProgram } from './outcome.js';

t.jobs = 4;

const waep = fileURLToPath(new URL('../../../bin/waep', import.meta.url));
const cache = mkdtempSync(join(tmpdir(), 'waep-cache-'));
t.teardown(() => rmSync(cache, { recursive: true, force: true }));
const CLOCK_NANOSLEEP = '230 ';
const env = { WAEP_CACHE_DIR: cache };

/** What waits for ever, in a child of its own, once its calls have been answered. */
const waiting = ['sh', '-c', 'uname -r; echo begun $$; sleep 1000; echo not reached'];
/** The same for a program that does not listen to SIGTERM. */
const stubborn = ['sh', '-c', 'trap "" TERM; echo begun; while :; do sleep 1; done'];

const runIn = (address: string, options: readonly string[], command: readonly string[]) =>
  startProgram([process.execPath, cli, 'run', '--vm', address, ...options, '--', ...command], env);

/** Waits until a program that {@link waiting} is sleeps: what loads it has been answered. */
async function asleep(printed: () => string): Promise<void> {
  const pid = await until('the program', () => /begun (\d+)/.exec(printed())?.[1]);
  await until('its sleep', () => {
    try {
      const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ');
      return readFileSync(`/proc/${child}/syscall`, 'latin1').startsWith(CLOCK_NANOSLEEP);
    } catch {
      return false;
    }
  });
}

const isThere = (pid: number) => {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
  } catch {
    return false;
  }
};

/** Starts an agent over each transport, and says how to take it away. */
async function agents(t: Test) {
  const keys = join(cache, `keys-${Math.random()}`);
  await makeKeys(keys, 1, { agent: 'agent', client: 'client' });
  const plain = await agentProcess(t, ['--quiet']);
  const secure = await agentProcess(t, ['--quiet', '--keys', keys]);
  const served = await localAgent();
  const link = await breakableTransport(served.address);
  t.teardown(async () => {
    await link.close().catch(() => {});
    await resetting.close().catch(() => {});
    await served.close();
  });
  const kill = ({ child }: AgentProcess) => child.kill('SIGKILL');
  const tcp = `tcp:127.0.0.1:${await freePort()}`;
  const onTcp = await agentProcess(t, ['--quiet', '--listen', tcp, '--insecure-tcp']);
  await until('it to listen on TCP, too', () => onTcp.stdout().includes(tcp));
  const mux = await startFakeMux(bridge);
  t.teardown(() => mux[Symbol.asyncDispose]());
  const behind = ['--listen', `unix:${join(mux.folder, 'guest_1024')}`];
  const guest = await agentProcess(t, ['--quiet', ...behind]);
  await until('it to listen behind it, too', () => guest.stdout().includes(mux.folder));
  const resetting = await breakableTransport(served.address, 'tcp');
  return {
    'an agent on TCP that is killed': {
      address: tcp,
      options: [],
      take: () => void kill(onTcp),
    },
    'an agent behind a multiplexer that is killed': {
      address: `vsock-mux:${mux.path}:1024`,
      options: [],
      take: () => {
        kill(guest);
        // The stand-in cannot tell an agent's end from a half-close, which it does not show.
        for (const socket of mux.sockets) socket.destroy();
      },
    },
    'a TCP connection that is reset for longer than the lease': {
      address: resetting.address,
      options: ['--lease', '500ms'],
      take: () => void resetting.close(),
    },
    'an agent that is killed': {
      address: plain.address,
      options: [],
      take: () => void kill(plain),
    },
    'an agent over TLS that ends in order': {
      address: secure.address,
      options: ['--keys', keys],
      take: () => void secure.child.kill('SIGTERM'),
    },
    'a link that is cut for longer than the lease': {
      address: link.address,
      options: ['--lease', '500ms'],
      take: () => void link.close(),
    },
    'a link that is cut, without a lease': {
      address: (await breakable(t)).address,
      options: ['--lease', '0'],
      take: () => {},
    },
  };
}

const cuts = new Map<string, () => void>();
async function breakable(t: Test) {
  const served = await localAgent();
  const link = await breakableTransport(served.address);
  t.teardown(async () => {
    await link.close();
    await served.close();
  });
  cuts.set(link.address, link.cut);
  return link;
}

t.test('a program whose guest goes is told, and ended', async (t) => {
  await Promise.all(
    Object.entries(await agents(t)).map(async ([what, { address, options, take }]) => {
      const { child, ended, printed } = runIn(address, options, waiting);
      await asleep(printed);
      take();
      cuts.get(address)?.();
      const { status, output, errors } = await ended;
      t.equal(status, 124, what);
      t.notMatch(output, /not reached/, what);
      t.match(
        errors,
        new RegExp(
          `waep: The session with ${address} is closed: .*\\. The program's calls fail with EIO`,
        ),
        what,
      );
      t.equal(errors.match(/The session with/g)?.length, 1, `${what}: told once`);
      t.notOk(isThere(child.pid as number));
    }),
  );
});

t.test('a program that does not listen is killed', async (t) => {
  const agent = await agentProcess(t, ['--quiet']);
  const { ended, printed } = runIn(agent.address, ['--lease', '0'], stubborn);
  await until('the program', () => printed().includes('begun'));
  agent.child.kill('SIGKILL');
  t.equal((await ended).status, 124);
});

t.test('a program that waits for events is woken', async (t) => {
  const { path, dispose } = application();
  t.teardown(dispose);
  const agent = await agentProcess(t, ['--quiet']);
  const { ended, printed } = runIn(agent.address, ['--lease', '0'], [path, 'in-vain']);
  await until('three waits', () => printed().match(/ waits/g)?.length === 3);
  agent.child.kill('SIGKILL');
  const { status, output } = await ended;
  t.equal(status, 124);
  for (const way of ['epoll', 'poll', 'select']) {
    t.match(output, new RegExp(`^${way}: 1$`, 'm'));
    t.match(output, new RegExp(`^late ${way}: 1$`, 'm'));
  }
});

t.test('a link that is cut and made again is not noticed', async (t) => {
  const { address, cut } = await breakable(t);
  const go = join(cache, 'go');
  const script = 'echo begun; until [ -e "$0" ]; do sleep 0.1; done; uname -r; exit 3';
  const command = ['sh', '-c', script, go];
  const { ended, printed } = runIn(address, ['--lease', '60s'], command);
  await until('the program', () => printed().includes('begun'));
  cut();
  writeFileSync(go, '');
  const { status, errors, output } = await ended;
  t.equal(status, 3);
  t.equal(errors, '');
  t.match(output, /^begun\n\d/);
});

t.test('with a standby', async (t) => {
  const standby = async (address: string): Promise<ChildProcess> => {
    const child = spawn(process.execPath, [cli, 'standby', '--vm', address, '--lease', '0'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, ...env },
    });
    t.teardown(() => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    return child;
  };
  const run = (address: string) =>
    startProgram([waep, 'run', '--vm', address, '--', ...waiting], {
      ...env,
      PATH: '/usr/bin:/bin',
    });
  await t.test('the guest goes', async (t) => {
    const agent = await agentProcess(t, ['--quiet']);
    await standby(agent.address);
    const { ended, printed } = run(agent.address);
    await asleep(printed);
    agent.child.kill('SIGKILL');
    const { signal, errors } = await ended;
    t.equal(signal, 'SIGTERM', 'the program itself is what was started');
    t.match(errors, `waep: The session with ${agent.address} is closed`);
    t.notMatch(errors, /ENOSYS/);
  });
  await t.test('the standby is killed', async (t) => {
    const agent = await agentProcess(t, ['--quiet']);
    const child = await standby(agent.address);
    const { ended, printed } = run(agent.address);
    await asleep(printed);
    child.kill('SIGKILL');
    const { signal, errors } = await ended;
    t.equal(signal, 'SIGTERM');
    t.match(errors, /what answers for sh has ended; .* it is ended in 5 s/);
  });
});

t.test('when waep itself is killed, the program ends', async (t) => {
  const agent = await agentProcess(t, ['--quiet']);
  const command = ['sh', '-c', 'echo pid $$; exec sleep 1000'];
  const { child, printed } = runIn(agent.address, [], command);
  const pid = Number(await until('the program', () => /pid (\d+)/.exec(printed())?.[1]));
  child.kill('SIGKILL');
  await until('its end', () => !isThere(pid));
});

t.test('a fan-out of three says how each ended', async (t) => {
  const three = await Promise.all([1, 2, 3].map(() => agentProcess(t, ['--quiet'])));
  const options = three.slice(1).flatMap(({ address }) => ['--vm', address]);
  const [first, second, third] = three.map(({ address }) => address) as [string, string, string];
  const script = 'echo begun; [ -e "$0" ] || sleep 1000';
  const { ended, printed } = startProgram(
    [
      process.execPath,
      cli,
      'run',
      '--vm',
      first,
      ...options,
      '--lease',
      '0',
      '--',
      'sh',
      '-c',
      script,
      join(cache, 'x'),
    ],
    env,
  );
  await until('three programs', () => printed().match(/begun/g)?.length === 3);
  for (const { child } of three) child.kill('SIGKILL');
  const { status, errors } = await ended;
  t.equal(status, 124);
  for (const address of [first, second, third]) {
    t.match(errors, `waep: ${address}: the guest went away (status 124)`);
  }
});

t.test('with --json, what waep says is JSON', async (t) => {
  const agent = await agentProcess(t, ['--quiet']);
  const nobody = `unix:${join(cache, 'nobody')}`;
  const options = ['--vm', nobody, '--json', '--lease', '0'];
  const { ended, printed } = runIn(agent.address, options, waiting);
  await asleep(printed);
  agent.child.kill('SIGKILL');
  const { status, output, errors } = await ended;
  t.equal(status, 124);
  t.match(output, `${agent.address} | begun`, 'the programs say what they say');
  const lines = errors
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const of = (address: string) => lines.filter((line) => line.address === address);
  t.equal(lines.length, 4);
  t.match(of(agent.address), [
    { waep: 'notice', code: 'ERR_RUN_GUEST_GONE' },
    { waep: 'ended', status: 124, outcome: 'guest gone' },
  ]);
  t.match(of(nobody), [
    { waep: 'error', code: 'ENOENT' },
    { waep: 'ended', status: 125, outcome: 'not run' },
  ]);
});

t.test('failures of waep have a status of their own', async (t) => {
  const nobody = `unix:${join(cache, 'nobody')}`;
  t.equal((await runIn(nobody, [], ['true']).ended).status, 125);
  t.equal((await runIn(nobody, ['--no-such-option'], ['true']).ended).status, 125);
  t.equal((await runIn('nonsense', [], ['true']).ended).status, 125);
  const { address } = await breakable(t);
  t.equal((await runIn(address, [], ['/no/such/program']).ended).status, 127);
  t.equal((await runIn(address, [], ['/etc/passwd']).ended).status, 126);
  t.equal((await runIn(address, [], ['sh', '-c', 'exit 124']).ended).status, 124);
});
