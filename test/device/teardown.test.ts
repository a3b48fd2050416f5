/*
 * `npm run test:device`: processes end in every way while devices in them have live connections,
 * with AddressSanitizer in the addon.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { boot } from '../../guest/index.js';
import { vhostUserVsock } from '../../guest/vm/qemu/devices.js';
import { echoFiles, startEcho, startPouring } from './echo.js';
import { ECHO_PORT, type Ending, HOST_PORT, type Message, POURING } from './host.js';
import { record } from './page.js';
import { sanitizedAddon } from './sanitized-addon.js';

const HOST = fileURLToPath(new URL('./host.js', import.meta.url));
const DEADLINE_MS = 60_000;

t.setTimeout(900_000);

const files = await echoFiles();
const addon = await sanitizedAddon();

/** A process under test. */
interface Host {
  readonly child: ChildProcess;
  /** What it says next. */
  next<K extends Message['kind']>(kind: K): Promise<Extract<Message, { kind: K }>>;
  /** How it ended, and what the sanitizer found. */
  readonly ended: Promise<{ status: number | null; stderr: string; reports: readonly string[] }>;
}

function startHost(t: Test, ending: Ending, sockets: readonly string[]): Host {
  const folder = mkdtempSync(join(tmpdir(), 'waep-asan-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const child = fork(HOST, [ending, ...sockets], {
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    env: {
      ...process.env,
      WAEP_NATIVE_DIR: addon.folder,
      LD_PRELOAD: addon.runtime,
      ASAN_OPTIONS: [
        `log_path=${join(folder, 'report')}`,
        'detect_leaks=1',
        'detect_stack_use_after_return=1',
        // Node leaks, too, and that is no failure here.
        'exitcode=0',
      ].join(':'),
    },
  });
  t.teardown(() => child.kill('SIGKILL'));
  const heard: Message[] = [];
  child.on('message', (message: Message) => heard.push(message));
  const exit = once(child, 'exit') as Promise<[number | null]>;
  const said = child.stderr === null ? Promise.resolve('') : text(child.stderr);
  const ended = Promise.all([exit, said]).then(([[status], stderr]) => ({
    status,
    stderr,
    reports: readdirSync(folder).flatMap((name) =>
      findings(readFileSync(join(folder, name), 'utf8')),
    ),
  }));
  return {
    child,
    ended,
    async next(kind) {
      for (;;) {
        const message = heard.shift();
        if (message?.kind === kind) return message as Extract<Message, { kind: typeof kind }>;
        if (message !== undefined) throw new Error(`it says ${message.kind}, not ${kind}`);
        await Promise.race([
          once(child, 'message'),
          ended.then((end) => Promise.reject(new Error(`it ended: ${JSON.stringify(end)}`))),
        ]);
      }
    },
  };
}

/** Errors, and leaks of what the addon allocated: what Node itself leaves behind is its business. */
function findings(report: string): string[] {
  return report.split('\n\n').filter((part) => {
    if (!/leak of \d+ byte/.test(part)) return part.includes('ERROR: Address');
    const ours = part.search(/waep::|waep\.node|addon\/(core|napi)/);
    const nodes = part.search(/\bnode\+0x/);
    return ours >= 0 && (nodes < 0 || ours < nodes);
  });
}

const scenarios: readonly { ending: Ending; guests: number }[] = [
  { ending: 'worker.terminate()', guests: 1 },
  { ending: 'process.exit() in a worker', guests: 1 },
  { ending: 'device.close()', guests: 2 },
  { ending: 'process.exit()', guests: 2 },
];

for (const { ending, guests } of scenarios) {
  t.test(`${ending} with ${guests} live device${guests > 1 ? 's' : ''}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'waep-sock-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const sockets = Array.from({ length: guests }, (_, i) => join(folder, `${i}.sock`));
    const host = startHost(t, ending, sockets);
    await host.next('listening');
    for (const socket of sockets) {
      const guest = await boot({
        agent: {
          tcp: 'anybody',
          listen: ['vsock:any:1024', 'tcp:0.0.0.0:1024'],
          profile: 'full',
          args: ['--any-source-port'],
        },
        exec: true,
        vsock: 'none',
        network: 'user',
        files,
        devices: (machine) => [vhostUserVsock(machine, socket)],
      });
      t.teardown(() => guest.stop());
      await startEcho(guest, ECHO_PORT);
      await startPouring(guest, HOST_PORT, POURING);
    }
    host.child.send('go');
    const { sockets: live, calls } = await host.next('live');
    t.ok(live >= guests * (POURING + 10), `${live} sockets are live`);
    t.ok(calls > 0, `${calls} calls were made`);
    if (ending === 'device.close()') {
      const { codes } = await host.next('closed');
      const ends = codes.filter((code) => code === 'ECONNABORTED').length;
      t.comment(`${ends} of ${codes.length}`, [...new Set(codes)]);
      t.ok(ends >= live, 'every socket ends in ECONNABORTED');
    }
    const timer = setTimeout(() => host.child.kill('SIGKILL'), DEADLINE_MS);
    const { status, stderr, reports } = await host.ended;
    clearTimeout(timer);
    t.equal(status, 0, stderr);
    t.same(reports, [], 'the sanitizer finds nothing');
    record(
      'teardown',
      `${ending}, ${guests === 1 ? 'a guest' : 'two guests'}`,
      `${live} live sockets, nothing found`,
    );
  });
}
