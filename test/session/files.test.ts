import t from 'tap';
import { FileOperation } from '../../src/call.js';
import { FrameType, messageFrame } from '../../src/frame/index.js';
import { Session } from '../../src/index.js';
import { listFolder } from '../../src/kernel/guest-folder.js';
import { fakeAgent, welcome } from './fake-agent.js';

const request = { operation: FileOperation.STAT, path: '/proc/partitions' };

t.test('an agent that cannot look at files is named', async (t) => {
  const { address, close } = await fakeAgent(() => t.fail('it is asked nothing'));
  t.teardown(close);
  await using session = await Session.connect(address);
  await t.rejects(session.file(request), {
    code: 'ERR_AGENT_LACKS',
    message: /agent \(fake\) cannot look at \/proc\/partitions: it is older/,
  });
});

t.test('an agent that knows fewer operations is asked for no others', async (t) => {
  const { session, close } = await answered(() => [0, 0, []]);
  t.teardown(close);
  const rename = { operation: FileOperation.RENAME, path: '/sys/fs/bpf/a', other: '/sys/fs/bpf/b' };
  await session.file(rename);
  const cgroup = { operation: FileOperation.MKDIR_CGROUP, path: '/sys/fs/cgroup/a' };
  for (const unknown of [{ ...rename, number: 1 }, cgroup]) {
    await t.rejects(session.file(unknown), {
      code: 'ERR_AGENT_LACKS',
      message: `cannot make this change to ${unknown.path}: it is older`,
    });
  }
});

/** A session whose agent answers FILE like this. */
async function answered(answer: (body: unknown) => readonly unknown[]) {
  const agent = await fakeAgent(
    ({ type, id, body }, socket) => {
      if (type === FrameType.FILE) socket.write(messageFrame(FrameType.RESULT, id, answer(body)));
    },
    (socket, hello) =>
      socket.write(messageFrame(FrameType.WELCOME, hello.id, { ...welcome, files: true })),
  );
  const session = await Session.connect(agent.address);
  const close = async () => {
    session.close();
    await agent.close();
  };
  return { session, close };
}

t.test('what an agent says of files is bounded, and made of whole records', async (t) => {
  for (const [what, answer] of [
    ['more bytes than it says', [1, 0, [Buffer.alloc(2)]]],
    ['more than there can be', [2 ** 31, 0, [Buffer.alloc(2)]]],
  ] as const) {
    const { session, close } = await answered(() => answer);
    await t.rejects(session.file(request), { code: 'ERR_PROTOCOL_UNEXPECTED' }, what);
    await close();
  }
  const short = Buffer.alloc(24);
  const long = Buffer.alloc(24);
  long.writeUInt16LE(32, 16);
  for (const records of [short, long, Buffer.alloc(10, 1)]) {
    const { session, close } = await answered(() => [records.length, 0, [records]]);
    await t.rejects(listFolder(session, '/sys'), { code: 'ERR_PROTOCOL_UNEXPECTED' });
    await close();
  }
});

t.test('a folder without an end is no folder', async (t) => {
  const record = Buffer.alloc(32 * 1024);
  record.writeBigUInt64LE(7n, 8);
  record.writeUInt16LE(record.length, 16);
  const { session, close } = await answered(() => [record.length, 0, [record]]);
  t.teardown(close);
  await t.rejects(listFolder(session, '/sys'), { code: 'ERR_GUEST_FILE' });
});
