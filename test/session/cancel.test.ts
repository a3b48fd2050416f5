import t from 'tap';
import { enums, insn, rows } from '../../src/bpf/index.js';
import { decodeBody, FrameType, HEADER_BYTES, messageFrame } from '../../src/frame/index.js';
import { Session } from '../../src/session.js';
import { Client } from '../agent/client.js';
import { bpfObjects, localAgent } from '../agent/local-agent.js';
import { until } from '../until.js';

const { BPF_PROG_TYPE_RAW_TRACEPOINT: type, BPF_PROG_TYPE_SOCKET_FILTER } = enums.ProgType;
/** A program of so many turns takes microseconds. */
const TURNS = 10_000;

/** A program whose loop the verifier walks turn by turn. */
const loop = (turns: number) =>
  insn.program(
    insn.mov('r0', 0),
    insn.label('again'),
    insn.alu('add', 'r0', 1),
    insn.jumpIf('lt', 'r0', turns, 'again'),
    insn.exit(),
  );

/** The body of a CALL that loads such a program and binds it to a handle. */
function load(turns: number, handle: number): unknown {
  const attribute = Buffer.alloc(120);
  const insns = Buffer.from(loop(turns));
  attribute.writeUInt32LE(BPF_PROG_TYPE_SOCKET_FILTER, 0);
  attribute.writeUInt32LE(insns.byteLength / 8, 4);
  const relocations = [0, 8, 0, 1, 0, 16, 0, 2];
  return [5, 1, handle, [attribute, insns, Buffer.from('GPL\0')], relocations];
}

/** The body of a CALL that runs a program as often as a kernel can be asked to: for hours. */
function runOn(handle: number): unknown {
  const attribute = Buffer.alloc(80);
  const packet = Buffer.alloc(64);
  attribute.writeUInt32LE(packet.byteLength, 8);
  attribute.writeUInt32LE(2 ** 32 - 1, 32);
  return [10, 1, 0, [attribute, packet], [0, 0, 1, handle, 0, 16, 0, 1]];
}

t.test('a call that runs, and one that waits, are cancelled', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const client = await Client.greeted(local.address);
  t.teardown(() => client.close());
  client.send(messageFrame(FrameType.CALL, 1, load(TURNS, 1)));
  t.match(await client.frame(), { type: FrameType.RESULT, id: 1 });
  client.send(messageFrame(FrameType.CALL, 2, runOn(1)));
  client.send(messageFrame(FrameType.CALL, 3, load(1, 3)));
  client.send(messageFrame(FrameType.CALL, 4, load(1, 4)));
  for (const id of [3, 2]) {
    const cancelling = Client.joining(local.address, client.token, 'cancel', id);
    t.match(await cancelling.frame(), { type: FrameType.WELCOME });
    t.equal(await cancelling.frame(), undefined);
  }
  t.equal((await client.error())?.code, 'ERR_CALL_CANCELLED', 'the one that ran');
  t.equal((await client.error())?.code, 'ERR_CALL_CANCELLED', 'the one that waited');
  t.match(await client.frame(), { type: FrameType.RESULT, id: 4 }, 'and nothing else');
  const [pid] = local.agent.executorPids as [number];
  t.equal(bpfObjects(pid).length, 2);
  const idle = Client.joining(local.address, client.token, 'cancel', 9);
  t.match(await idle.frame(), { type: FrameType.WELCOME });
  client.send(messageFrame(FrameType.CALL, 5, load(1, 5)));
  t.match(await client.frame(), { type: FrameType.RESULT, id: 5 });
});

t.test('a chain that is cancelled ends with the call that runs', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const client = await Client.greeted(local.address);
  t.teardown(() => client.close());
  const [pid] = local.agent.executorPids as [number];
  const calls = [load(1, 1), runOn(1), load(1, 2)].map((call) =>
    messageFrame(FrameType.CALL, 0, call).subarray(HEADER_BYTES),
  );
  for (let id = 1; ; id += 2) {
    client.send(messageFrame(FrameType.CHAIN, id, calls));
    await until('the object of the first call', () => bpfObjects(pid).length === 1);
    const cancelling = Client.joining(local.address, client.token, 'cancel', id);
    t.match(await cancelling.frame(), { type: FrameType.WELCOME });
    const answer = await client.frame();
    t.match(answer, { type: FrameType.RESULT, id });
    const [made, cancelled, ...more] = decodeBody(answer?.body ?? new Uint8Array(0)) as unknown[];
    t.same(made, [1, 0, []]);
    t.equal(bpfObjects(pid).length, 1, 'the last call has not begun');
    client.send(messageFrame(FrameType.CLOSE, id + 1, [1]));
    t.match(await client.frame(), { type: FrameType.RESULT, id: id + 1 });
    // On a busy machine, the first call may have used up the time of the chain.
    if (cancelled === undefined) continue;
    t.same([cancelled, ...more], [['ERR_CALL_CANCELLED', {}]]);
    break;
  }
});

t.test('an AbortSignal cancels, and leaves nothing of what came too late', async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const [pid] = local.agent.executorPids as [number];
  const short = 10;
  for (const turns of [900_000, short]) {
    const controller = new AbortController();
    const other = session.createMap({ type: 1, keySize: 4, valueSize: 4, maxEntries: 1 });
    const loading = session.bpf(
      rows.PROG_LOAD,
      { prog_type: type, insns: loop(turns), license: 'GPL' },
      { signal: controller.signal },
    );
    controller.abort();
    // What was answered while it was being sent has happened, and is its caller's to close.
    const ended = await loading.catch((error: Error) => error);
    if (turns === short && !(ended instanceof Error)) await session.release([ended.handle]);
    else t.match(ended, { code: 'ERR_CALL_ABORTED' }, `${turns} turns`);
    await (await other).close();
    // What closes the program was sent before this, at the latest.
    await session.release([await session.open('/proc/version')]);
    t.same(bpfObjects(pid), [], 'and nothing is left');
  }
});
