import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { makeKeys } from '../../cli/keys.js';
import { boot } from '../../guest/index.js';
import { vhostUserVsock } from '../../guest/vm/qemu/devices.js';
import { FrameType, PROTOCOL_VERSION } from '../../src/frame/header.js';
import { messageFrame } from '../../src/frame/messages.js';
import { Session } from '../../src/index.js';
import { readTlsFiles } from '../../src/tls-files.js';
import { createServer, type Socket } from '../../src/transport/index.js';
import { echoFiles, startPouring } from '../device/echo.js';
import { cli } from '../run/application.js';
import { attemptAsSecondUser, noSecondUser, scriptAsSecondUser } from '../second-user.js';
import { patient, until } from '../until.js';

t.setTimeout(1_800_000);

const hello = messageFrame(FrameType.HELLO, 1, { protocol: PROTOCOL_VERSION, client: 'mallory' });

/** A command for the command daemon, in its messages (guest/agent/exec/execd.c). */
function order(...words: readonly [type: string, text: string][]): Buffer {
  return Buffer.concat(
    words.map(([type, text]) => {
      const head = Buffer.alloc(5);
      head.write(type, 'latin1');
      head.writeUInt32LE(text.length, 1);
      return Buffer.concat([head, Buffer.from(text)]);
    }),
  );
}

t.test(
  'another user of this machine and a guest of "waep vm"',
  { skip: noSecondUser },
  async (t) => {
    const vm = spawn(process.execPath, [cli, 'vm', '--net', 'user', '--vsock', 'device'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    t.teardown(async () => {
      vm.kill('SIGTERM');
      if (vm.exitCode === null) await once(vm, 'exit');
    });
    let told = '';
    vm.stderr.setEncoding('utf8').on('data', (text: string) => {
      told += text;
    });
    const addresses: string[] = [];
    for await (const line of createInterface(vm.stdout)) {
      addresses.push(line);
      if (addresses.length === 2) break;
    }
    const [vsock = '', tcp = ''] = addresses;
    const [, socket = ''] = /^vsock-device:(.*):\d+$/.exec(vsock) ?? [];
    const keys = await until('the folder of keys', () => / --keys (\S+)/.exec(told)?.[1]);

    await t.test('this user is answered by the device', async () => {
      (await Session.connect(vsock, patient)).close();
    });

    await t.test('who has not is not, over TCP', async (t) => {
      const { answer } = await attemptAsSecondUser(tcp, hello);
      // A record of TLS at most: an alert.
      t.notMatch(answer, /waep-agent/, 'no WELCOME');
      await t.rejects(Session.connect(tcp, { handshakeTimeoutMs: 5000 }), 'nor any other without');
    });

    await t.test(
      'the keys and the sockets are behind a folder that nobody else enters',
      async (t) => {
        t.same(await attemptAsSecondUser(socket, hello), { answer: '', error: 'EACCES' });
        const script = `
      for (const path of process.argv.slice(1)) {
        try { require('node:fs').readdirSync(path); console.log('read'); }
        catch ({ code }) { console.log(code); }
      }`;
        t.same((await scriptAsSecondUser(script, keys, dirname(socket))).trim().split('\n'), [
          'EACCES',
          'EACCES',
        ]);
        t.notOk(readdirSync(keys).includes('ca.key'), 'the key of the authority is gone');
      },
    );
  },
);

/** What a process of this machine may do, by /proc/PID/status. */
function rightsOf(pid: number): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n');
  return Object.fromEntries(lines.map((line) => line.split(/:\s*/, 2)));
}

t.test('by default a guest is on no network, and its QEMU has nothing', async (t) => {
  await using guest = await boot({ notice: () => {} });
  const { Seccomp, NoNewPrivs, Uid = '', CapEff, CapBnd, Groups } = rightsOf(guest.processes.qemu);
  t.match({ Seccomp, NoNewPrivs }, { Seccomp: '2', NoNewPrivs: '1' });
  if (noSecondUser === false) {
    const [uid, ...others] = Uid.split('\t').map(Number);
    t.ok(uid !== undefined && uid >= 0x70000000, `user ${uid}, which is nobody's`);
    t.same(others, [uid, uid, uid]);
    t.match({ CapEff, CapBnd }, { CapEff: /^0+$/, CapBnd: /^0+$/ });
    t.equal(Groups?.trim(), '');
    const memory = `require('node:fs').openSync('/proc/${guest.processes.qemu}/mem')`;
    await t.rejects(scriptAsSecondUser(memory), /EACCES/, "nor is its memory anybody's");
  }
  t.equal(guest.info.network, 'none');
  t.throws(() => guest.tcp(), { code: 'ERR_OPTION_INVALID' });
  await using session = await Session.connect(guest.vsock(), patient);
  t.match(session.kernel.release, /^\d/);
});

t.test('a device and a QEMU that are users of their own serve root on both ways', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waep-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o711);
  const [socket, path] = [join(folder, 'vhost.sock'), join(folder, 'vsock')];
  const words = [cli, 'vsock-device', '--socket', socket, '--uds-path', path];
  const device = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => device.kill('SIGKILL'));
  await once(createInterface(device.stdout), 'line');
  const keys = join(folder, 'keys');
  await makeKeys(keys, 1, { agent: 'agent', client: 'client' });
  await using guest = await boot({
    agent: {
      tcp: { keys },
      listen: ['vsock:any:1024', 'tcp:0.0.0.0:1024'],
      args: ['--any-source-port', '--hello-timeout-ms', '60000'],
    },
    exec: true,
    vsock: 'none',
    network: 'user',
    files: await echoFiles(),
    devices: (machine) => [vhostUserVsock(machine, socket)],
    notice: () => {},
  });
  (await Session.connect(`vsock-device:${path}:1024`, patient)).close();
  const tls = readTlsFiles({ keys }, 'client');
  if (tls === undefined) throw new Error('there are no keys');
  (await Session.connect(guest.tcp(), { tls, ...patient })).close();

  const server = createServer().listen(`vsock-device:${path}:5000`);
  t.teardown(() => server.close());
  const [[accepted]] = await Promise.all([
    once(server, 'connection') as Promise<[Socket]>,
    startPouring(guest, 5000, 1),
  ]);
  await once(accepted, 'data');
  accepted.destroy();
  if (noSecondUser === false) {
    const users = [guest.processes.qemu, device.pid ?? 0].map((pid) => rightsOf(pid).Uid);
    t.notOk(
      users.some((user) => user?.startsWith('0\t')),
      `users ${users}`,
    );
  }
});

t.test('another user of this machine and the command daemon', { skip: noSecondUser }, async (t) => {
  const options = { exec: true, network: 'user', agent: false, confine: false } as const;
  await using guest = await boot({ ...options, notice: () => {} });
  const { Seccomp, Uid } = rightsOf(guest.processes.qemu);
  t.match({ Seccomp, Uid }, { Seccomp: '0', Uid: /^0\t/ }, 'QEMU as who asks for it wants it');
  const { address, key } = guest.execDaemon('network');
  const command: [string, string][] = [
    ['A', 'id'],
    ['R', ''],
  ];
  const answers = async (bytes: Buffer) => (await attemptAsSecondUser(address, bytes)).answer;
  t.match(await answers(order(['L', key], ...command)), /^O....uid=0/s, 'with the key');
  t.equal(await answers(order(...command)), '', 'without a key');
  t.equal(await answers(order(['L', key.slice(1)], ...command)), '', 'with a part of it');
  t.equal(await answers(order(['L', ''], ...command)), '', 'with an empty one');
  t.equal(
    await answers(order(['L', key.replace(/.$/, '')], ...command)),
    '',
    'with all but its end',
  );
  t.notMatch(await guest.sh('tr "\\0" "\\n" < /proc/self/environ'), /EXEC_KEY/);
});
