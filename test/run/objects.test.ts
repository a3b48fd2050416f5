import t from 'tap';
import { rows, specOfNew } from '../../src/bpf/index.js';
import { functionOffsets } from '../../src/btf/index.js';
import { enums, insn, Session } from '../../src/index.js';
import { Objects } from '../../src/run/objects.js';
import { localAgent } from '../agent/local-agent.js';

/** Types (BTF) with a number of 32 bits. */
const oneType = Uint8Array.from([
  ...[0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 16, 0, 0, 0, 5, 0, 0, 0],
  ...[1, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 32, 0, 0, 1],
  ...Buffer.from('\0int\0'),
]);

t.test('what no kernel tells is not guessed', async (t) => {
  const { address, close } = await localAgent();
  t.teardown(close);
  await using session = await Session.connect(address);
  const objects = new Objects(session, () => session.kernelTypes());
  await using plain = await session.loadProgram({
    type: enums.ProgType.BPF_PROG_TYPE_SOCKET_FILTER,
    instructions: insn.program(insn.mov('r0', 0), insn.exit()),
    license: 'GPL',
  });
  // As of a program loaded into a kernel that does not tell what it is attached to.
  objects.addProgram(plain.handle, 0);
  t.equal(objects.iterTargetOf(plain.handle), undefined);
  await objects.learn();
  t.equal(objects.iterTargetOf(plain.handle), undefined);
  t.notOk(await objects.learn(), 'it is not asked for ever');
});

t.test('where a STRUCT_OPS map holds programs is learned when its value is written', async (t) => {
  const { address, close } = await localAgent();
  t.teardown(close);
  await using session = await Session.connect(address);
  const types = await session.kernelTypes();
  const value = types.find('struct', 'bpf_struct_ops_tcp_congestion_ops') ?? 0;
  await using btf = await session.loadBtf(oneType);
  const values = {
    map_type: enums.MapType.BPF_MAP_TYPE_STRUCT_OPS,
    ...{ key_size: 4, value_size: types.sizeOf(value), max_entries: 1 },
    ...{ btf_fd: btf, btf_vmlinux_value_type_id: value },
  };
  const { handle } = await session.bpf(rows.MAP_CREATE, values);
  const asked: (string | undefined)[] = [];
  const objects = new Objects(session, async (name) => {
    asked.push(name);
    return types;
  });
  objects.addMap(handle, specOfNew(values));
  t.equal(objects.mapSpec(handle)?.valueSize, types.sizeOf(value));
  t.notOk(await objects.learn(), 'a spec without offsets is enough to read');
  t.equal(objects.mapSpec(handle)?.programOffsets, undefined);
  t.ok(await objects.learn());
  const found = objects.mapSpec(handle)?.programOffsets;
  t.same(found, functionOffsets(types, value));
  t.ok((found?.length ?? 0) > 5, `${found?.length} places`);
  t.same(asked, ['vmlinux']);
  t.notOk(await objects.learn(), 'they are asked for once');
});
