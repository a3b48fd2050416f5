/*
 * Programs in the outer guest whose guest, the inner one, is killed while they wait: one under
 * `waep run`, and one with a standby. Each prints "begun". Then this prints one JSON object per
 * check. It opens the sessions itself, because a guest on an emulated processor takes its time.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { Session } from '../../src/index.js';
import { nativeFile } from '../../src/native.js';
import { run, Standby } from '../../src/run/index.js';
import { report } from './checks.js';

const [address = ''] = process.argv.slice(2);
const patience = { timeoutMs: 60_000, handshakeTimeoutMs: 60_000, callTimeoutMs: 60_000 };
const waiting = ['sh', '-c', 'uname -r; echo begun; exec sleep 10000'];
const closed = `The session with ${address} is closed`;

const told: Readonly<Record<string, string[]>> = { alone: [], standby: [] };
const sessions: Session[] = [];
const connect = async () => {
  const session = await Session.connect(address, patience);
  sessions.push(session);
  return session;
};
const alone = run(await connect(), waiting, {
  refused: ({ message }) => told.alone?.push(message),
});
await Standby.open(address, {
  connect,
  refused: ({ message }) => told.standby?.push(message),
  failed: ({ message }) => told.standby?.push(message),
});
const launch = spawn(
  nativeFile('waep-launch'),
  ['run', '/nonexistent', '--vm', address, '--', ...waiting],
  { stdio: 'inherit' },
);
const launched = once(launch, 'exit');

const checks: Readonly<Record<string, () => Promise<void>>> = {
  'waep run': async () => assert.equal((await alone).status, 124),
  'with a standby': async () => assert.deepEqual(await launched, [null, 'SIGTERM']),
  'each is told once': async () => {
    for (const lines of Object.values(told)) {
      assert.equal(lines.length, 1, lines.join('\n'));
      assert.ok(lines[0]?.startsWith(closed), lines[0]);
    }
  },
};
/** Says what each session knows of its guest, and what each process waits for. */
function state(): string {
  const open = sessions.map(({ closed, interrupted }) => ({ closed, interrupted }));
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => ['stat', 'wchan', 'syscall'].map((file) => lookAt(`/proc/${pid}/${file}`)));
  return `${inspect(open)} ${JSON.stringify(processes)} ${JSON.stringify(told)}`;
}

function lookAt(path: string): string {
  try {
    return readFileSync(path, 'latin1').slice(0, 80);
  } catch (error) {
    return String(error);
  }
}

await report(checks, state);
// What has failed to end must not keep this process.
process.exit();
