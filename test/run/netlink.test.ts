import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { netlink } from '../../src/bpf/index.js';
import { native } from '../../src/native.js';
import { compile, profiles } from '../../src/policy/index.js';
import { NetlinkSockets } from '../../src/run/netlink-sockets.js';
import { Session } from '../../src/session.js';
import { localAgent } from '../agent/local-agent.js';
import { application, cli } from './application.js';
import { start } from './outcome.js';

/* The local agent's kernel is this machine's, so that what is native can be seen here. */

const SOCK_RAW = 3;
const RTM_NEWROUTE = 24;
const NLM_F_REQUEST = 1;
const NLM_F_ECHO = 8;
const NLM_F_CREATE = 0x400;

const program = application('netlink');
const cache = mkdtempSync(join(tmpdir(), 'waep-cache-'));
t.teardown(() => {
  program.dispose();
  rmSync(cache, { recursive: true });
});

async function agentWith(
  policy: Partial<typeof profiles.full>,
  audit: Record<string, string>[] = [],
) {
  const rules = compile({ ...profiles.full, ...policy }, kernelNames());
  const { agent, address, close } = await localAgent({ rules });
  agent.on('call', ({ call }) => audit.push(call as unknown as Record<string, string>));
  t.teardown(close);
  const begin = (...command: string[]) =>
    start([process.execPath, cli, 'run', '--vm', address, '--', ...command], {
      WAEP_CACHE_DIR: cache,
    });
  return Object.assign((...command: string[]) => begin(...command).ended, { start: begin });
}

const natively = (...[file = '', ...rest]: string[]) =>
  execFileSync(file, rest, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

const observing = await agentWith({
  netlink: profiles.observe.netlink,
  interfaces: profiles.observe.interfaces,
});

t.test('messages that look are answered as by the kernel', async (t) => {
  for (const how of [[], ['hostile']]) {
    const expected = natively(program.path, ...how);
    t.match(await observing(program.path, ...how), { output: expected, errors: '', status: 0 });
  }
});

t.test('answers that nobody receives, and a number that means two sockets', async (t) => {
  const { output, errors, status } = await observing(program.path, '1', '2', '3', '4');
  t.match(
    output,
    /^flood: No buffer space available\nafter the flood: type 16, .*\nof a thread: -1 Bad file descriptor\nthe other: -1\n$/,
  );
  t.same({ errors, status }, { errors: '', status: 0 });
});

t.test('a datagram that fits no socket is an error, and nobody waits for it', async (t) => {
  const sockets = new NetlinkSockets();
  t.teardown(() => sockets.close());
  const fd = sockets.create(0, SOCK_RAW);
  t.teardown(() => native.close(fd));
  const socket = sockets.find(process.pid, fd);
  if (socket === undefined) throw new Error('the socket is not known');
  socket.port = sockets.tie(fd, process.pid).port;
  const small = Buffer.alloc(16, 1);
  t.throws(() => sockets.deliver(socket, [small, Buffer.alloc(16 * 2 ** 20), small]), {
    code: 'EMSGSIZE',
  });
  sockets.deliver(socket, [small]);
  const room = Buffer.alloc(64);
  const received = [1, 2, 3].map(() => native.netlinkReceive(fd, room, false));
  t.same(received, [16, 16, -constants.errno.EAGAIN]);
});

t.test('tools print what they print natively', async (t) => {
  const commands = ['ip -d link', 'ip -j addr', 'ip link show lo', 'tc qdisc show', 'ss -tlH'];
  for (const command of commands) {
    const words = command.split(' ');
    const { output, errors, status } = await observing(...words);
    t.same(
      { output, errors, status },
      { output: natively(...words), errors: '', status: 0 },
      command,
    );
  }
});

t.test('a policy that allows no message has all of them refused', async (t) => {
  const { output, errors } = await (await agentWith({ netlink: [] }))('ip', 'link');
  t.equal(output, '');
  t.match(errors, /policy refuses .*rule netlink .*RTM_GETLINK/);
});

t.test(
  'a session goes on after messages of any protocol that its policy does not allow',
  async (t) => {
    const rules = compile({ ...profiles.full, netlink: [] }, kernelNames());
    const { address, close } = await localAgent({ rules });
    t.teardown(close);
    await using session = await Session.connect(address);
    for (const protocol of [...Object.values(netlink.NetlinkProtocol), 12]) {
      const message = Buffer.alloc(20);
      message.writeUInt32LE(message.length, 0);
      message.writeUInt16LE(30, 4);
      const refused = { code: 'ERR_POLICY_REFUSED', detail: { rule: 'netlink' } };
      await t.rejects(session.netlink({ protocol, message }), refused, `protocol ${protocol}`);
    }
  },
);

t.test('what changes something is refused by name', async (t) => {
  const { output, errors } = await observing(program.path, '1', '-1');
  const refused = (what: string) =>
    `${what}: type 2, sequence 42, own port, from 0 (12 bytes), Operation not permitted\n`;
  t.equal(
    output,
    `${['route', 'xdp', 'xdp, too long', 'namespace', 'up', 'destroy'].map(refused).join('')}${'group: -1\nmember: -1\nreplaced: -1\n'}`,
  );
  for (const named of [
    /RTM_NEWROUTE/,
    /RTM_SETLINK/,
    /SOCK_DESTROY/,
    /bind\(2\) to a group of netlink is refused/,
    /NETLINK_ADD_MEMBERSHIP.* is refused/,
    /dup2\(2\) on a socket of netlink is refused/,
  ]) {
    t.match(errors, named);
  }
});

t.test('of an interface that the policy allows, only XDP is changed', async (t) => {
  const wide = await agentWith({ interfaces: ['lo'] });
  const index = readFileSync('/sys/class/net/lo/ifindex', 'latin1').trim();
  const { output, errors } = await wide(program.path, index, '-1');
  const lines = output.split('\n');
  t.match(lines[1], /^xdp: .*, Success$/, 'nothing is detached');
  t.ok(
    lines.slice(2, 6).every((line) => /, Operation not permitted$/.test(line)),
    output,
  );
  t.match(errors, /RTM_SETLINK: rule netlink .* an attribute of 200 bytes, with 8 left/);
  t.match(errors, /the attribute 28/);
  const other = await (await agentWith({ interfaces: ['none'] }))(program.path, index, '-1');
  t.match(other.output, /^xdp: .*, Operation not permitted$/m);
  t.match(other.errors, /RTM_SETLINK: rule interfaces .* lo \(1\)/);
});

const ip = (...words: string[]) => execFileSync('ip', words, { encoding: 'utf8' });

/** Makes an interface. Returns undefined, and skips the test, where none can be made. */
function newDevice(t: Test, ending = ''): { device: string; index: string } | undefined {
  const device = `waep${process.pid}${ending}`.slice(0, 15);
  try {
    ip('link', 'add', device, 'type', 'ifb');
  } catch (error) {
    t.pass('not here', { skip: `no interface can be made (try: modprobe ifb): ${String(error)}` });
    return undefined;
  }
  t.teardown(() => ip('link', 'del', device));
  const index = readFileSync(`/sys/class/net/${device}/ifindex`, 'latin1').trim();
  return { device, index };
}

t.test('a program is attached by its descriptor, and detached', async (t) => {
  const made = newDevice(t);
  if (made === undefined) return;
  const { device, index } = made;
  const audit: Record<string, string>[] = [];
  const open = await agentWith({ interfaces: [device] }, audit);
  const { child, ended, printed } = open.start(program.path, index, 'attach', 'wait');
  while (!printed().includes('waiting')) await once(child.stdout, 'data');
  t.match(ip('link', 'show', device), / xdpgeneric .*prog\/xdp id \d+/s);
  child.kill('SIGTERM');
  const { output, errors } = await ended;
  t.match(output, /^attach: .*, Success\nwaiting\ndetach: .*, Success\n$/);
  t.equal(errors, '');
  t.notMatch(ip('link', 'show', device), /xdp/);
  t.match(
    audit.filter(({ event }) => event === 'netlink'),
    [
      { command: 'RTM_SETLINK', interface: index },
      { command: 'RTM_SETLINK', interface: index },
    ],
  );
});

t.test('a change is recorded also if its answer is too long', async (t) => {
  const made = newDevice(t, 'e');
  if (made === undefined) return;
  const rules = compile(profiles.full, kernelNames());
  const limits = { ...rules.limits, maxCallBytes: 64 };
  const { agent, address, close } = await localAgent({ rules: { ...rules, limits } });
  t.teardown(close);
  const session = await Session.connect(address);
  t.teardown(() => session.close());
  const known = netlink.netlinkMessages.find(({ name }) => name === 'RTM_NEWQDISC');
  if (known === undefined) throw new Error('RTM_NEWQDISC is not known');
  const message = netlink.leastNetlinkMessage(known, Number(made.index));
  message.writeUInt16LE(NLM_F_REQUEST | NLM_F_ECHO | NLM_F_CREATE, 6);
  const records: unknown[] = [];
  const refused = new Promise<void>((resolve) => {
    agent.on('call', ({ call }) => {
      records.push(call);
      if ((call as unknown as { event: string }).event === 'refused') resolve();
    });
  });
  await t.rejects(session.netlink({ protocol: 0, message }), { code: 'ERR_CALL_LIMIT' });
  t.match(natively('tc', 'qdisc', 'show', 'dev', made.device), /clsact/, 'it was made');
  // Records come in order. The last one is about a message that the policy refuses.
  const route = netlink.leastNetlinkMessage({ name: '', protocol: 0, type: RTM_NEWROUTE });
  await t.rejects(session.netlink({ protocol: 0, message: route }), { code: 'ERR_POLICY_REFUSED' });
  await refused;
  t.match(records[0], { event: 'netlink', command: 'RTM_NEWQDISC', interface: made.index });
});
