import t from 'tap';
import { enums, insn, Session } from '../../src/index.js';
import { Objects } from '../../src/run/objects.js';
import { localAgent } from '../agent/local-agent.js';

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
