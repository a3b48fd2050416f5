import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { enums, insn, Session, u32 } from '../../src/index.js';
import { bpfObjects, localAgent } from '../agent/local-agent.js';
import { int, Kind, writeBtf } from '../btf/writer.js';
import { until } from '../until.js';
import { session as open, skip } from './local-session.js';

const { MapType, ProgType } = enums;
const array = { type: MapType.BPF_MAP_TYPE_ARRAY, key: u32, value: u32, maxEntries: 1 };

t.test('types', { skip }, async (t) => {
  const session = await open(t);
  const btf = writeBtf([
    int('unsigned int', 4),
    { kind: Kind.STRUCT, name: 'pair', vlen: 2, size: 8, words: ['a', 1, 0, 'b', 1, 32] },
  ]);
  await using types = await session.loadBtf(btf);
  const info = await types.info();
  t.match(info, { name: '', ofKernel: false, sizeBytes: btf.length });
  const read = await types.types();
  const codec = read.codec<{ a: number; b: number }>('struct pair');
  await using map = await session.createMap({
    type: MapType.BPF_MAP_TYPE_HASH,
    key: u32,
    value: codec,
    maxEntries: 4,
    types: { btf: types, key: 1, value: 2 },
  });
  await map.update(1, { a: 2, b: 3 });
  t.same(await map.lookup(1), { a: 2, b: 3 });
  t.match(await map.info(), { btfId: info.id, keyType: 1, valueType: 2 });
  await using typed = await session.map({ id: (await map.info()).id }, await map.codecs());
  t.same(await typed.lookup(1), { a: 2, b: 3 }, 'typed by its own types');
  await using untyped = await session.createMap(array);
  await t.rejects(untyped.codecs(), { code: 'ERR_BTF_TYPE', message: /made without types/ });
  const ids: number[] = [];
  for await (const one of session.btfs()) ids.push(one.id);
  t.ok(ids.includes(info.id));
  await using again = await session.btf({ id: info.id });
  t.equal((await again.types()).length, 3);
  const bad = writeBtf([{ kind: Kind.TYPEDEF, name: 'x', size: 9 }]);
  await t.rejects(session.loadBtf(bad), {
    code: 'EINVAL',
    command: 'BPF_BTF_LOAD',
    log: /type_id=9 Invalid type_id/,
  });
});

t.test('what goes out of scope is closed in the guest', { skip }, async (t) => {
  const local = await localAgent();
  t.teardown(() => local.close());
  await using session = await Session.connect(local.address);
  const held = () => bpfObjects(local.agent.executorPids[0] as number).length;
  {
    await using map = await session.createMap(array);
    t.equal(map.closed, false);
    t.equal(held(), 1);
  }
  t.equal(held(), 0);
  const map = await session.createMap(array);
  await map.close();
  t.equal(map.closed, true);
  await t.rejects(map.lookup(0), {
    code: 'ERR_OBJECT_CLOSED',
    message: /^map \(handle 2\) has been closed/,
  });
});

t.test('what was forgotten is closed some time later; links are not', { skip }, async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const local = await localAgent();
  t.teardown(() => local.close());
  await using session = await Session.connect(local.address);
  const held = () => bpfObjects(local.agent.executorPids[0] as number);
  await (async () => {
    for (let i = 0; i < 20; i++) await session.createMap(array);
    const program = await session.loadProgram({
      type: ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      instructions: insn.program(insn.mov('r0', 0), insn.exit()),
      license: 'GPL',
    });
    await program.attachRawTracepoint('sys_enter');
  })();
  const maps = () => held().filter((id) => id.startsWith('map')).length;
  t.equal(maps(), 20);
  const forgotten = () => {
    collect();
    return maps() === 0;
  };
  await until('the end of all maps', forgotten, { everyMs: 20 });
  t.ok(
    held().some((id) => id.startsWith('link')),
    'the link is there',
  );
});

t.test('a session that has ended does not get in the way', { skip }, async (t) => {
  const session = await open(t);
  const map = await session.createMap(array);
  session.close();
  t.equal(map.closed, true);
  await map.close();
  await t.rejects(map.lookup(0), { code: 'ERR_SESSION_CLOSED' });
  await t.rejects(session.programs().next(), { code: 'ERR_SESSION_CLOSED' });
});
