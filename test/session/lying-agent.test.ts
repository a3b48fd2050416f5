/* An agent is software of the guest's: what it says is checked, bounded and made fit to be shown. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { failure } from '../../src/errors.js';
import { errorBody, type Frame, FrameType, messageFrame } from '../../src/frame/index.js';
import { readFile } from '../../src/kernel/index.js';
import { Session } from '../../src/session.js';
import { fakeAgent, welcome } from './fake-agent.js';

const cli = fileURLToPath(new URL('../../cli/waep.cjs', import.meta.url));
const answer = (frame: Frame, result: number, ...outputs: Uint8Array[]) =>
  messageFrame(FrameType.RESULT, frame.id, [result, 0, outputs]);

t.test('a WELCOME with impossible values ends the session', async (t) => {
  const { kernel, limits, session } = welcome;
  const lies = {
    'kernel.possibleCpus': { kernel: { ...kernel, possibleCpus: 2 ** 31 } },
    'kernel.pageSize': { kernel: { ...kernel, pageSize: -4096 } },
    'kernel.release': { kernel: { ...kernel, release: '6.1\u001b]0;owned\u0007' } },
    'kernel.version': { kernel: { ...kernel, version: 'x'.repeat(100_000) } },
    'limits.maxHandles': { limits: { ...limits, maxHandles: Number.NaN } },
    'limits.maxFrameBytes': { limits: { ...limits, maxFrameBytes: 1.5 } },
    'limits.maxStreams': { limits: { ...limits, maxStreams: { toString: 1 } } },
    'session.leaseMs': { session: { ...session, leaseMs: -1 } },
    'session.token': { session: { ...session, token: new Uint8Array(1) } },
  };
  for (const [field, lie] of Object.entries(lies)) {
    const agent = await fakeAgent(
      () => {},
      (socket, { id }) => socket.write(messageFrame(FrameType.WELCOME, id, { ...welcome, ...lie })),
    );
    await t.rejects(Session.connect(agent.address), {
      code: 'ERR_FRAME_MALFORMED',
      message: `WELCOME.${field} `,
    });
    await agent.close();
  }
});

t.test('a read cannot give more than was asked for', async (t) => {
  type Lie = readonly [number, ...Uint8Array[]];
  let reply: Lie = [0];
  const agent = await fakeAgent((frame, socket) => {
    const [result, ...outputs] = reply;
    socket.write(
      frame.type === FrameType.READ ? answer(frame, result, ...outputs) : answer(frame, 0),
    );
  });
  t.teardown(agent.close);
  const session = await Session.connect(agent.address);
  t.teardown(() => session.close());
  const handle = await session.open('/proc/version');
  const lies: Lie[] = [[2 ** 31 - 1], [4, new Uint8Array(5)], [20, new Uint8Array(20)]];
  for (const lie of lies) {
    reply = lie;
    await t.rejects(session.read(handle, 16), {
      code: 'ERR_PROTOCOL_UNEXPECTED',
      message: new RegExp(`result of ${lie[0]} from ${agent.address}.*the 16 asked for`),
    });
  }
});

t.test('a file without an end is not read for ever', async (t) => {
  const chunk = new Uint8Array(1024 * 1024);
  let reads = 0;
  const agent = await fakeAgent((frame, socket) => {
    if (frame.type !== FrameType.READ) return socket.write(answer(frame, 0));
    reads++;
    return socket.write(answer(frame, chunk.length, chunk));
  });
  t.teardown(agent.close);
  const session = await Session.connect(agent.address);
  t.teardown(() => session.close());
  await t.rejects(readFile(session, '/proc/kallsyms', 8 * chunk.length), {
    code: 'ERR_GUEST_FILE',
    message: /\/proc\/kallsyms has more than 8388608 bytes/,
  });
  t.equal(reads, 9);
});

t.test('what it says does not reach a terminal as commands', async (t) => {
  const commands = '\u001b]0;owned\u0007\u009b2J';
  const agent = await fakeAgent(
    () => {},
    (socket, { id }) => {
      const error = failure('ERR_PEER_REFUSED', { peer: commands, why: `line\n\tnext${commands}` });
      socket.write(messageFrame(FrameType.ERROR, id, errorBody(error)));
    },
  );
  t.teardown(agent.close);
  const shown = /\\u001b\]0;owned\\u0007\\u009b2J: line\n\tnext\\u001b/;
  await t.rejects(Session.connect(agent.address), { code: 'ERR_PEER_REFUSED', message: shown });

  const child = spawn(process.execPath, [cli, 'trace', '--vm', agent.address]);
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  await once(child, 'close');
  t.match(errors, shown);
});
