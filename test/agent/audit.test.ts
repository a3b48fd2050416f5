import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { AuditLog } from '../../guest/agent/audit.js';
import { provideFileSystems } from '../../guest/agent/file-systems.js';
import { kernelNames } from '../../guest/agent/kernel-names.js';
import { enums, insn } from '../../src/bpf/index.js';
import { FrameType, HEADER_BYTES, messageFrame } from '../../src/frame/index.js';
import { compile, profiles } from '../../src/policy/index.js';
import { Session } from '../../src/session.js';
import { whyNoKernel } from '../bpf/kernel.js';
import { until } from '../until.js';
import { Client } from './client.js';
import { bpfObjects, type LocalAgent, localAgent } from './local-agent.js';

const { Cmd, ProgType, MapType, Helper } = enums;

interface Line {
  time: string;
  event: string;
  [fact: string]: unknown;
}

const lines = (file: string): Line[] =>
  readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

const observed = () =>
  localAgent({ rules: compile(profiles.observe, kernelNames()), profile: 'observe' });

/** Ends the session and resolves when the agent has told so. */
async function end({ agent }: LocalAgent, session: Session): Promise<void> {
  const ended = new Promise((resolve) => agent.once('ended', resolve));
  session.close();
  await ended;
}

t.test('what a session does is told', async (t) => {
  const file = join(t.testdir(), 'audit.log');
  const local = await observed();
  t.teardown(() => local.close());
  new AuditLog({ target: file, maxBytes: 1e6, keep: 1 }).follow(local.agent);
  const session = await Session.connect(local.address, { client: 'the "auditor"' });
  await session.createMap({
    type: MapType.BPF_MAP_TYPE_HASH,
    keySize: 4,
    valueSize: 8,
    maxEntries: 3,
    name: 'counts',
  });
  const program = await session.loadProgram({
    type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
    instructions: insn.program(
      insn.call(Helper.BPF_FUNC_ktime_get_ns),
      insn.call(Helper.BPF_FUNC_get_current_pid_tgid),
      insn.mov('r0', 0),
      insn.exit(),
    ),
    license: 'GPL',
    name: 'watcher',
  });
  const { tag, id } = await program.info();
  await program.attachRawTracepoint('sys_enter');
  await t.rejects(session.open('/etc/shadow'), { code: 'ERR_POLICY_REFUSED' });
  await t.rejects(program.pin('/sys/fs/bpf/"quoted"\\'), { code: 'ERR_POLICY_REFUSED' });
  await end(local, session);

  const told = lines(file);
  const who = { session: 1, client: 'the "auditor"' };
  t.match(
    told.map(({ event }) => event),
    ['session', 'map', 'program', 'attach', 'refused', 'refused', 'ended'],
  );
  t.ok(told.every(({ time }) => Math.abs(Date.parse(time) - Date.now()) < 60_000));
  t.match(told, [
    who,
    { ...who, command: 'map_create (0)', name: 'counts', type: 'hash (1)', map_id: /^\d+$/ },
    {
      ...who,
      command: 'prog_load (5)',
      name: 'watcher',
      type: 'raw_tracepoint (17)',
      helpers: 'bpf_ktime_get_ns (5) bpf_get_current_pid_tgid (14)',
      prog_tag: String(tag),
      prog_id: String(id),
    },
    { ...who, hook: 'sys_enter', link_type: 'raw_tracepoint', prog_id: String(id) },
    { ...who, command: 'open', rule: 'readable_paths', value: '/etc/shadow' },
    { ...who, command: 'obj_pin (6)', rule: 'pin_paths', value: '/sys/fs/bpf/"quoted"\\' },
    { session: 1, report: { refused: 2 } },
  ]);
});

t.test('the calls of a chain are told in their order', async (t) => {
  const file = join(t.testdir(), 'audit.log');
  const local = await observed();
  t.teardown(() => local.close());
  new AuditLog({ target: file, maxBytes: 1e6, keep: 1 }).follow(local.agent);
  const ended = new Promise((resolve) => local.agent.once('ended', resolve));
  const client = await Client.greeted(local.address);
  const create = Buffer.concat([Buffer.from(Uint32Array.of(1, 4, 8, 1).buffer), Buffer.alloc(48)]);
  const calls = [
    [0, 1, 1, [create], []],
    [63, 1, 0, [Buffer.alloc(16)], []],
  ].map((call) => messageFrame(FrameType.CALL, 0, call).subarray(HEADER_BYTES));
  client.send(messageFrame(FrameType.CHAIN, 1, calls));
  t.match(await client.frame(), { type: FrameType.RESULT, id: 1 });
  // If a busy machine ended the chain early, the other call is still to be refused.
  client.send(messageFrame(FrameType.CHAIN, 2, calls.slice(1)));
  t.match(await client.frame(), { type: FrameType.RESULT, id: 2 });
  await client.close();
  await ended;
  t.same(
    lines(file)
      .map(({ event }) => event)
      .slice(0, 3),
    ['session', 'map', 'refused'],
  );
});

t.test('the log is bounded, and never in the way', async (t) => {
  const folder = t.testdir();
  const file = join(folder, 'audit.log');
  const log = new AuditLog({ target: file, maxBytes: 1000, keep: 1 });
  for (let i = 0; i < 100; i++) log.write('noise', { number: i });
  t.ok(statSync(file).size <= 1000);
  t.ok(statSync(`${file}.1`).size <= 1000);
  t.notOk(existsSync(`${file}.2`));
  t.match(lines(file).at(-1), { number: 99 });
  t.equal(statSync(file).mode & 0o777, 0o600);
  const more = new AuditLog({ target: file, maxBytes: 1000, keep: 1 });
  more.write('noise', { number: 100 });
  t.match(lines(file).at(-1), { number: 100 }, 'a log is continued');

  const missing = { target: join(folder, 'missing', 'audit.log'), maxBytes: 1000, keep: 1 };
  t.throws(() => new AuditLog(missing), {
    code: 'ERR_OPTION_INVALID',
    message: /Invalid --audit: ".*missing.*a log that can be written to \(ENOENT/,
  });
});

t.test('a flood of refusals neither blocks calls nor is lost without a trace', async (t) => {
  const local = await observed();
  t.teardown(() => local.close());
  let told = 0;
  let untold = 0;
  local.agent.on('call', ({ dropped }) => {
    told++;
    untold += dropped;
  });
  const session = await Session.connect(local.address);
  const refused = (name: string) => session.open(`/etc/${name}`).catch(() => {});
  let asked = 3000;
  await Promise.all(Array.from({ length: asked }, () => refused('x'.repeat(100))));
  // What was dropped is told with the next record that there is room for.
  await until('word of each', async () => {
    if (told + untold === asked) return true;
    asked++;
    await refused('last');
    return false;
  });
  await end(local, session);
  t.equal(told + untold, asked, 'each is told or counted');
});

const skip = process.getuid?.() !== 0 && 'it takes root to mount';
const noBpf = whyNoKernel();
/** More calls than have room for their answers where nobody reads them. */
const MANY = 3000;

t.test('a call whose result cannot be bound is told and charged', { skip }, async (t) => {
  provideFileSystems();
  const pin = `/sys/fs/bpf/waep-audit-${process.pid}`;
  t.teardown(() => rmSync(pin, { force: true }));
  const quotas = { ...profiles.full.quotas, maps: 1 };
  const local = await localAgent({ rules: compile({ ...profiles.full, quotas }, kernelNames()) });
  t.teardown(() => local.close());
  const told: string[] = [];
  local.agent.on('call', ({ call }) => told.push(call.event));
  await using session = await Session.connect(local.address);
  const array = { type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 4, maxEntries: 1 };
  const map = await session.createMap(array);
  const path = Buffer.from(`${pin}\0`);
  await t.rejects(
    session.call({
      ...{ command: Cmd.BPF_OBJ_PIN, args: 1, result: 99, buffers: [Buffer.alloc(32), path] },
      relocations: [0, 0, 0, 1, 0, 8, 1, map.handle],
    }),
    { code: 'ERR_CALL_MALFORMED', message: /not a new descriptor/ },
  );
  t.ok(existsSync(pin));
  await until('its record', () => told.includes('pin'));
  await map.close();
  await t.rejects(session.createMap(array), {
    code: 'ERR_POLICY_REFUSED',
    detail: { rule: 'quotas.maps' },
  });
});

t.test('an object counts as long as any handle of it is open', { skip: noBpf }, async (t) => {
  const quotas = { ...profiles.full.quotas, maps: 1, programs: 1 };
  const local = await localAgent({ rules: compile({ ...profiles.full, quotas }, kernelNames()) });
  t.teardown(() => local.close());
  await using session = await Session.connect(local.address);
  const array = { type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 4, valueSize: 4, maxEntries: 1 };
  const first = await session.createMap(array);
  const { id } = await first.info();
  const again = await session.map({ id });
  await first.close();
  const none = { code: 'ERR_POLICY_REFUSED', detail: { rule: 'quotas.maps' } };
  await t.rejects(session.createMap(array), none, 'it is still there');
  await again.close();
  await (await session.createMap(array)).close();
  // A map of another session does not count, whatever its id.
  await using other = await Session.connect(local.address);
  const others = await other.createMap(array);
  const looked = await session.map({ id: (await others.info()).id });
  await (await session.createMap(array)).close();
  await looked.close();
});

t.test('a client that reads no answers keeps no record back', { skip }, async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  let told = 0;
  local.agent.on('call', () => told++);
  const client = await Client.greeted(local.address);
  t.teardown(() => client.close());
  client.pause();
  const pid = local.agent.executorPids[0] as number;
  const attribute = Buffer.from(Uint32Array.of(MapType.BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0).buffer);
  for (let handle = 1; handle <= MANY; handle++) {
    client.send(
      messageFrame(FrameType.CALL, handle, [Cmd.BPF_MAP_CREATE, 1, handle, [attribute], []]),
    );
  }
  // sendto(2), because nobody reads what the executor answers.
  const waits = () => readFileSync(`/proc/${pid}/syscall`, 'utf8').startsWith('44 ');
  const made = () => bpfObjects(pid).length;
  await until('a record of each map while it waits', () => waits() && told === made(), {
    everyMs: 100,
  });
  t.ok(made() < MANY, `${made()} maps`);
});
