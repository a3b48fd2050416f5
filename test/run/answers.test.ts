import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { provideFileSystems } from '../../guest/agent/file-systems.js';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { compileStatic } from '../../guest/image/static.js';
import { enums } from '../../src/bpf/index.js';
import { Session } from '../../src/index.js';
import { compile, profiles } from '../../src/policy/index.js';
import { run } from '../../src/run/index.js';
import { localAgent } from '../agent/local-agent.js';
import { raw } from '../raw-call.js';
import { until } from '../until.js';

const EPERM = 1;
const EFAULT = 14;
const EINVAL = 22;
const EOPNOTSUPP = 95;

// A token is made of a bpf file system.
provideFileSystems();
const { address, close } = await localAgent();
t.teardown(close);
const program = await compileStatic('test/run/reuse.c');
const scratch = mkdtempSync(join(tmpdir(), 'waep-test-'));
t.teardown(() => rmSync(scratch, { recursive: true, force: true }));
const idFile = join(scratch, 'id');

/** A session whose answers to lookups come when `released` has resolved. */
function slowed(session: Session, asked: () => void, released: Promise<void>): Session {
  const call: Session['call'] = async (call, options) => {
    const reply = await session.call(call, options);
    if (!/lookup/i.test(options?.name ?? '')) return reply;
    asked();
    await released;
    return reply;
  };
  return new Proxy(session, {
    get(target, key) {
      if (key === 'call') return call;
      const value = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Starts a victim whose process id is `id`, which is free. */
async function victimOf(id: number): Promise<ChildProcess> {
  let given: number | undefined;
  return until(
    () => `a process with the id ${id}, and not ${given}`,
    async () => {
      writeFileSync('/proc/sys/kernel/ns_last_pid', String(id - 1));
      const victim = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'] });
      given = victim.pid;
      if (given === id) return victim;
      victim.kill('SIGKILL');
      await once(victim, 'exit');
      return undefined;
    },
  );
}

const skip = process.getuid?.() !== 0 && 'it takes root to choose a process id';

t.test('a late answer is not written to who has the process id by then', { skip }, async (t) => {
  const session = await Session.connect(address);
  t.teardown(() => session.close());
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let ended: Promise<unknown> = Promise.resolve();
  await new Promise<void>((resolve) => {
    ended = run(slowed(session, resolve, released), [program, 'caller', idFile]);
  });
  const id = Number(readFileSync(idFile, 'utf8'));
  process.kill(id, 'SIGKILL');
  await ended;

  const victim = await victimOf(id);
  t.teardown(() => victim.kill('SIGKILL'));
  const lines = createInterface(victim.stdout as NodeJS.ReadableStream);
  const state = async () => {
    victim.stdin?.write('\n');
    return (await once(lines, 'line'))[0];
  };
  t.equal(await state(), 'kept', 'before the answer');
  release();
  await released;
  for (let turn = 0; turn < 10; turn++) await setImmediate();
  t.equal(await state(), 'kept', 'after it');
});

t.test('an answer goes where the program could write, and nowhere else', async (t) => {
  const session = await Session.connect(address);
  t.teardown(() => session.close());
  t.same(await run(session, [program, 'caller', idFile]), { status: 0 });
  t.same(await run(session, [program, 'constant', idFile]), { status: EFAULT });
});

t.test('a token is made, or not, as the kernel of the guest says', async (t) => {
  const session = await Session.connect(address);
  t.teardown(() => session.close());
  const [major = 0, minor = 0] = session.kernel.release.split('.').map(Number);
  const knows = major > 6 || (major === 6 && minor >= 9);
  const asking = await compileStatic('test/run/token.c');
  // Outside of user namespaces there are none.
  t.same(await run(session, [asking]), { status: knows ? EOPNOTSUPP : EINVAL });
  const watched = await localAgent({
    rules: compile(profiles.observe, kernelNames()),
    profile: 'observe',
  });
  t.teardown(() => watched.close());
  const refused = await Session.connect(watched.address);
  t.teardown(() => refused.close());
  t.same(await run(refused, [asking]), { status: EPERM }, 'observe has no such command');
  const message = /commands.*token_create/;
  await t.rejects(raw(refused, enums.Cmd.BPF_TOKEN_CREATE, 8, {}), {
    code: 'ERR_POLICY_REFUSED',
    message,
  });
});
