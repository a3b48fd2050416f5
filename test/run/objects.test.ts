import t from 'tap';
import { enums, insn, Session } from '../../src/index.js';
import { Objects } from '../../src/run/objects.js';
import { localAgent } from '../agent/local-agent.js';

const { BPF_PROG_TYPE_TRACING } = enums.ProgType;
const { BPF_TRACE_ITER } = enums.AttachType;

t.test('what an iterator goes over is asked for when a call depends on it', async (t) => {
  const { address, close } = await localAgent();
  t.teardown(close);
  await using session = await Session.connect(address);
  let asked = 0;
  const objects = new Objects(session, () => {
    asked++;
    return session.kernelTypes();
  });
  const iterators = { bpf_map_elem: 'map', task: 'task', bpf_map: 'other' };
  for (const [attachTo, target] of Object.entries(iterators)) {
    await using program = await session.loadProgram({
      type: BPF_PROG_TYPE_TRACING,
      expectedAttachType: BPF_TRACE_ITER,
      attachTo,
      instructions: insn.program(insn.mov('r0', 0), insn.exit()),
      license: 'GPL',
    });
    const { handle } = program;
    objects.add(handle, 'prog');
    objects.progTypeOf(handle);
    await objects.learn();
    t.equal(objects.progTypeOf(handle), BPF_PROG_TYPE_TRACING);
    const before = asked;
    t.equal(objects.iterTargetOf(handle), undefined, 'not known yet');
    t.ok(await objects.learn());
    t.equal(asked, before + 1);
    t.equal(objects.iterTargetOf(handle), target, attachTo);
    t.notOk(await objects.learn(), 'nothing is asked twice');
  }
});

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
