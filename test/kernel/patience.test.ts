import t from 'tap';
import { enums, insn, type Patience, Session, u32 } from '../../src/index.js';
import { localAgent } from '../agent/local-agent.js';
import { skip } from './local-session.js';

const { MapType, ProgType } = enums;
const { mov, exit } = insn;

t.test('an operation waits as long as its caller says, and no longer', { skip }, async (t) => {
  const { agent, address, close } = await localAgent();
  t.teardown(close);
  const session = await Session.connect(address);
  t.teardown(() => session.close());
  const [hash, queue] = [MapType.BPF_MAP_TYPE_HASH, MapType.BPF_MAP_TYPE_QUEUE];
  const map = await session.createMap({ type: hash, key: u32, value: u32, maxEntries: 4 });
  const fifo = await session.createMap({ type: queue, value: u32, maxEntries: 4 });
  const filter = await session.createMap({
    type: MapType.BPF_MAP_TYPE_BLOOM_FILTER,
    value: u32,
    maxEntries: 4,
  });
  const { id } = await map.info();
  const program = {
    type: ProgType.BPF_PROG_TYPE_SOCKET_FILTER,
    instructions: insn.program(mov('r0', 0), exit()),
    license: 'GPL',
  };
  const loaded = await session.loadProgram(program);
  const { id: programId } = await loaded.info();
  const event = { type: 1, config: 0, pid: 0, cpu: -1 };
  const operations: Record<string, (patience: Patience) => Promise<unknown>> = {
    createMap: (patience) =>
      session.createMap({ type: hash, key: u32, maxEntries: 1, ...patience, value: u32 }),
    map: (patience) => session.map({ id }, patience),
    loadProgram: (patience) => session.loadProgram({ ...program, ...patience }),
    program: (patience) => session.program({ id: programId }, patience),
    link: (patience) => session.link({ id: 1 }, patience),
    loadBtf: (patience) => session.loadBtf(new Uint8Array(24), patience),
    btf: (patience) => session.btf({ id: 1 }, patience),
    attached: (patience) => session.attached({ interfaceIndex: 1 }, 0, patience),
    openObject: (patience) => session.openObject('cgroup', '/sys/fs/cgroup', patience),
    openPerfEvent: (patience) => session.openPerfEvent({ ...event, ...patience }),
    lookup: (patience) => map.lookup(1, 0, patience),
    lookupMany: (patience) => map.lookupMany([1], patience),
    update: (patience) => map.update(1, 1, 0, patience),
    updateMany: (patience) => map.updateMany([[1, 1]], patience),
    delete: (patience) => map.delete(1, patience),
    deleteMany: (patience) => map.deleteMany([1], patience),
    lookupAndDelete: (patience) => map.lookupAndDelete(1, patience),
    nextKey: (patience) => map.nextKey(undefined, patience),
    info: (patience) => map.info(patience),
    entries: (patience) => map.entries(patience).next(),
    push: (patience) => fifo.push(1, 0, patience),
    peek: (patience) => fifo.peek(patience),
    pop: (patience) => fifo.pop(patience),
    mayHave: (patience) => filter.mayHave(1, patience),
    freeze: (patience) => map.freeze(patience),
    testRun: (patience) => loaded.testRun({ data: new Uint8Array(64), ...patience }),
  };

  const signal = AbortSignal.abort(new Error('enough'));
  for (const [name, operation] of Object.entries(operations)) {
    await t.rejects(operation({ signal }), { code: 'ERR_CALL_ABORTED' }, `${name}, aborted`);
  }

  const executor = agent.executorPids[0] as number;
  process.kill(executor, 'SIGSTOP');
  try {
    for (const [name, operation] of Object.entries(operations)) {
      const late = { code: 'ERR_CALL_TIMEOUT' };
      await t.rejects(operation({ timeoutMs: 5 }), late, `${name}, late`);
    }
  } finally {
    process.kill(executor, 'SIGCONT');
  }
});
