import { getEventListeners, once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import t, { type Test } from 'tap';
import type { AgentOptions } from '../../guest/agent/agent.js';
import { ControlChannel } from '../../guest/agent/control.js';
import { ExecutorProcess } from '../../guest/agent/executor.js';
import type { Call } from '../../src/call.js';
import {
  BpfMap,
  enums,
  GuestObject,
  insn,
  PerfEvent,
  Program,
  RecordStream,
  RingWriter,
  rows,
  Session,
} from '../../src/index.js';
import { Authority } from '../../src/keys.js';
import { native } from '../../src/native.js';
import { EventConnection } from '../../src/session/event-connection.js';
import { EventStream } from '../../src/session/event-stream.js';
import { Lease } from '../../src/session/lease.js';
import { StreamChannel } from '../../src/session/stream-channel.js';
import { type LocalAgent, localAgent } from '../agent/local-agent.js';
import { arrayOf, ringOf } from '../events/maps.js';
import { session as open, skip } from '../kernel/local-session.js';
import { until } from '../until.js';
import { alive, noneStays } from './alive.js';

// Each time is work for several processes, and a machine may be busy.
t.setTimeout(3_600_000);

const { Channel, Poller } = native;
/** What a session is made of: on the host, and in the agent, which is in this process, too. */
const host = { Session, Lease, Channel, Poller, 'net.Socket': net.Socket };
const agent = { ExecutorProcess, ControlChannel };

async function localTo(t: Test, options: Partial<AgentOptions> = {}): Promise<LocalAgent> {
  const local = await localAgent(options);
  t.teardown(() => local.close());
  return local;
}

/** Waits until the agent has seen the end of every session. */
async function allEnded({ agent: { sessions }, agent }: LocalAgent): Promise<void> {
  for (let left = sessions; left > 0; left = agent.sessions) await once(agent, 'ended');
}

t.test('sessions', async (t) => {
  const local = await localTo(t);
  const { signal } = new AbortController();
  await noneStays(t, { ...host, ...agent, AbortSignal, AbortController }, 250, async () => {
    const session = await Session.connect(local.address, { signal });
    session.onClose(() => {});
    await session.readClock(1);
    session.close();
    await allEnded(local);
  });
  t.equal(getEventListeners(signal, 'abort').length, 0);
});

t.test('sessions under TLS', async (t) => {
  const authority = await Authority.create('authority', 1);
  const { cert: ca } = authority;
  const client = { ...(await authority.issue('client', 'operator', 1)), ca };
  const local = await localTo(t, { tls: { ...(await authority.issue('agent', 'agent', 1)), ca } });
  const classes = { ...host, ...agent, StreamChannel, TLSSocket: tls.TLSSocket };
  await noneStays(t, { ...classes, 'tls.Server': tls.Server }, 40, async () => {
    const session = await Session.connect(local.address, { tls: client });
    await session.readClock(1);
    session.close();
    await allEnded(local);
  });
});

t.test('sessions that were not to be', async (t) => {
  const local = await localTo(t, { maxSessions: 0 });
  await noneStays(t, { ...host, ...agent }, 300, async () => {
    await Session.connect(local.address).catch(() => {});
  });
});

t.test('sessions that went on over another connection', async (t) => {
  const local = await localTo(t);
  await noneStays(t, { ...host, ...agent }, 60, async () => {
    const session = await Session.connect(local.address, { leaseMs: 10_000 });
    await session.resume();
    session.close();
    await allEnded(local);
  });
});

t.test('sessions that end with streams and calls under way', { skip }, async (t) => {
  const local = await localTo(t);
  const classes = { ...host, ...agent, EventConnection, EventStream, RecordStream, GuestObject };
  await noneStays(t, classes, 60, async () => {
    const session = await Session.connect(local.address);
    const ring = await ringOf(session, 4096);
    const records = ring.records();
    await records.consume(() => {});
    const call = session.readClock(1);
    session.close();
    await call.catch(() => {});
    await records.ended.catch(() => {});
    await allEnded(local);
  });
});

t.test('objects of a session that goes on', { skip }, async (t) => {
  const session = await open(t);
  const instructions = insn.program(insn.mov('r0', 0), insn.exit());
  const type = enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT;
  await noneStays(t, { GuestObject, BpfMap, Program, PerfEvent }, 1000, async () => {
    const map = await session.createMap({ type: 1, keySize: 4, valueSize: 8, maxEntries: 4 });
    const program = await session.loadProgram({ type, instructions, license: 'GPL' });
    const event = await session.openPerfEvent({ type: 1, pid: 0 });
    await event.close();
    await program.close();
    await map.close();
  });
});

t.test('streams and writers of a session that goes on', { skip }, async (t) => {
  const session = await open(t);
  const ring = await ringOf(session, 4096);
  const array = await arrayOf(session);
  const { BPF_MAP_TYPE_USER_RINGBUF: type } = enums.MapType;
  const user = await session.createMap({ type, maxEntries: 64 * 1024 });
  const { signal } = new AbortController();
  const classes = { EventConnection, EventStream, RecordStream, RingWriter, PerfEvent };
  await noneStays(t, { ...classes, AbortSignal }, 200, async () => {
    for (const map of [ring, array]) {
      const records = map.records({ signal });
      await records.consume(() => {});
      await records.close();
    }
    const writer = session.ringWriter(user.handle, 64 * 1024);
    await writer.write([new Uint8Array(8)], signal).catch(() => {});
    await writer.close();
  });
  t.equal(
    getEventListeners(signal, 'abort').length,
    0,
    'a signal that lives on knows none of them',
  );
});

t.test('calls that a signal could end', async (t) => {
  const local = await localTo(t);
  const session = await Session.connect(local.address);
  t.teardown(() => session.close());
  const { signal } = new AbortController();
  const call: Call = {
    command: 0x7fff,
    buffers: [new Uint8Array(8)],
    relocations: [],
    args: 1,
    result: 0,
  };
  for (let i = 0; i < 1000; i++) await session.call(call, { signal }).catch(() => {});
  t.equal(getEventListeners(signal, 'abort').length, 0);
});

t.test('what a program was loaded with stays as long as the program', { skip }, async (t) => {
  const session = await open(t);
  const { BPF_PROG_TYPE_SOCKET_FILTER: type } = enums.ProgType;
  const returns = (value: number) => insn.program(insn.mov('r0', value), insn.exit());
  const load = (instructions: Uint8Array) =>
    session.loadProgram({ type, instructions, license: 'GPL' });

  const array = () =>
    session.createMap({
      type: enums.MapType.BPF_MAP_TYPE_PROG_ARRAY,
      keySize: 4,
      valueSize: 4,
      maxEntries: 1,
    });

  /** A program that jumps to another, through a map that no variable refers to afterwards. */
  async function jumping() {
    const [map, other] = [await array(), await array()];
    const target = await load(returns(42));
    await map.update(new Uint8Array(4), new Uint8Array(Uint32Array.of(target.handle).buffer));
    const program = await load(
      insn.program(
        insn.loadMap('r2', map),
        insn.mov('r3', 0),
        insn.call(enums.Helper.BPF_FUNC_tail_call),
        insn.mov('r0', 0),
        insn.exit(),
      ),
    );
    return { program, mapId: (await map.info()).id, otherId: (await other.info()).id };
  }

  const before = alive(BpfMap);
  /** Whether a map is closed, once all garbage has been collected. */
  const gone = async (id: number) => {
    if (alive(BpfMap) > before) return false;
    const { result, handle } = await session.tryBpf(rows.MAP_GET_FD_BY_ID, { map_id: id });
    if (result < 0) return true;
    await session.release([handle]);
    return false;
  };
  const { program, mapId, otherId } = await jumping();
  await until('the end of a map that nothing needs', () => gone(otherId));
  const { returnValue } = await program.testRun({ data: new Uint8Array(64) });
  t.equal(returnValue, 42, 'the program’s map has what was put into it');
  await program.close();
  await until('the end of the map', () => gone(mapId));
  t.pass('the map goes with the program');
});
