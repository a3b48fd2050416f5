/* An agent is software of the guest's: what it says is checked, bounded and made fit to be shown. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { json } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { enums } from '../../src/bpf/index.js';
import { failure } from '../../src/errors.js';
import {
  decodeBody,
  errorBody,
  type Frame,
  FrameType,
  HEADER_BYTES,
  messageFrame,
  putHeader,
} from '../../src/frame/index.js';
import { readFile } from '../../src/kernel/index.js';
import { KernelIterator } from '../../src/kernel/iterator.js';
import { Session } from '../../src/session.js';
import { until } from '../until.js';
import { fakeAgent, welcome } from './fake-agent.js';

const cli = fileURLToPath(new URL('../../cli/waep.cjs', import.meta.url));
const liedTo = fileURLToPath(new URL('./lied-to.js', import.meta.url));
const MIB = 2 ** 20;
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

t.test('an answer of netlink is datagrams that can have a message', async (t) => {
  type Lie = readonly [result: number, received: string, ...Uint8Array[]];
  const lies: readonly Lie[] = [
    // Zeroes do not travel: this one is short, and would be four million datagrams.
    [16 * MIB, 'a datagram of 0 bytes'],
    [16 * MIB + 1, '0 bytes in an answer of 16777217 bytes'],
    [8, '12 bytes in an answer', new Uint8Array(12)],
    [20, 'a datagram of 15 bytes', Uint8Array.of(15)],
    [20, 'a datagram of 17 bytes', Uint8Array.of(17)],
    [3, 'a datagram of 3 bytes', Uint8Array.of(1)],
  ];
  let next = 0;
  const agent = await fakeAgent(
    (frame, socket) => {
      if (frame.type !== FrameType.NETLINK) return socket.write(answer(frame, 0));
      const [result, , ...outputs] = lies[next++] as Lie;
      return socket.write(answer(frame, result, ...outputs));
    },
    (socket, { id }) =>
      socket.write(messageFrame(FrameType.WELCOME, id, { ...welcome, netlink: true })),
  );
  t.teardown(agent.close);
  const session = await Session.connect(agent.address);
  t.teardown(() => session.close());
  for (const [, received] of lies) {
    await t.rejects(session.netlink({ protocol: 0, message: new Uint8Array(20) }), {
      code: 'ERR_PROTOCOL_UNEXPECTED',
      message: received,
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

t.test('an iterator that never has anything to say does not end as if it had ended', async (t) => {
  const { EAGAIN } = constants.errno;
  const agent = await fakeAgent((frame, socket) => {
    const body = frame.type === FrameType.READ ? [-1, EAGAIN, []] : [0, 0, []];
    socket.write(messageFrame(FrameType.RESULT, frame.id, body));
  });
  t.teardown(agent.close);
  const session = await Session.connect(agent.address);
  t.teardown(() => session.close());
  const iterator = new KernelIterator(session, session.newHandle());
  await t.rejects(iterator.text(), { code: 'EAGAIN', syscall: 'read', side: 'guest' });
});

t.test('ids of objects that do not ascend are not followed for ever', async (t) => {
  const agent = await fakeAgent((frame, socket) => {
    const next = new Uint8Array(8);
    next[4] = 7;
    const [command] = decodeBody(frame.body) as [number];
    const isNext = command === enums.Cmd.BPF_PROG_GET_NEXT_ID;
    const body = isNext ? [0, 0, [next]] : [-1, constants.errno.ENOENT, []];
    socket.write(messageFrame(FrameType.RESULT, frame.id, body));
  });
  t.teardown(agent.close);
  const session = await Session.connect(agent.address);
  t.teardown(() => session.close());
  const drained = (async () => {
    for await (const _ of session.programs());
  })();
  await t.rejects(drained, { code: 'ERR_PROTOCOL_UNEXPECTED', message: /the prog 7 after 7/ });
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

/** A frame whose header says what it likes. */
function frameWith(length: number, type: number, id: number, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + body.length);
  putHeader(frame, 0, length, type, id);
  frame.set(body, HEADER_BYTES);
  return frame;
}

const escapes = '\u001b]0;owned\u0007';
/** Says the truth until a request of a type, which it answers with a lie. */
const lieTo = (type: number, lie: (frame: Frame, socket: Socket) => void) =>
  fakeAgent((frame, socket) => {
    if (frame.type === type) lie(frame, socket);
    else socket.write(answer(frame, 0));
  });
const ofLength = (frame: Frame, type: number, length: number, body = new Uint8Array(0)) =>
  frameWith(length, type, frame.id, body);

/** Lies, and what the error says of each. */
const lies: readonly (readonly [
  what: string,
  type: number,
  lie: (frame: Frame, socket: Socket) => void,
  code: string,
  message: RegExp,
])[] = [
  [
    'a file without an end',
    FrameType.READ,
    (frame, socket) => socket.write(answer(frame, MIB, Buffer.alloc(MIB, 1))),
    'ERR_GUEST_FILE',
    /\/proc\/kallsyms has more than \d+ bytes/,
  ],
  [
    'a file of zeroes without an end, which do not travel',
    FrameType.READ,
    (frame, socket) => socket.write(answer(frame, MIB)),
    'ERR_GUEST_FILE',
    /\/proc\/kallsyms has more than \d+ bytes/,
  ],
  [
    'a frame of 4 GiB',
    FrameType.CALL,
    (frame, socket) => socket.write(ofLength(frame, FrameType.RESULT, 2 ** 32 - 1)),
    'ERR_SESSION_CLOSED',
    /4294967295/,
  ],
  [
    'frames without an end that nobody has asked for',
    FrameType.CALL,
    (_, socket) => {
      const frame = messageFrame(FrameType.RESULT, 77_777, [0, 0, [Buffer.alloc(MIB / 2, 1)]]);
      const more = () => {
        while (!socket.destroyed && socket.write(frame));
        if (!socket.destroyed) socket.once('drain', more);
      };
      more();
    },
    'ERR_SESSION_CLOSED',
    /RESULT with the id 77777/,
  ],
  [
    'more outputs than were asked for',
    FrameType.CALL,
    (frame, socket) => socket.write(answer(frame, 0, ...Array(1000).fill(Buffer.alloc(100, 1)))),
    'ERR_FRAME_MALFORMED',
    /outputs/,
  ],
  [
    'an output of 2^40 bytes',
    FrameType.CALL,
    (frame, socket) => {
      const body = Buffer.from([0x83, 0, 0, 0x81, 0x5b, 0, 0, 1, 0, 0, 0, 0, 0]);
      socket.write(ofLength(frame, FrameType.RESULT, body.length, body));
    },
    'ERR_FRAME_MALFORMED',
    /./,
  ],
  [
    'an array of 2^32 items',
    FrameType.CALL,
    (frame, socket) => {
      const body = Buffer.from([0x83, 0, 0, 0x9a, 0xff, 0xff, 0xff, 0xff]);
      socket.write(ofLength(frame, FrameType.RESULT, body.length, body));
    },
    'ERR_FRAME_MALFORMED',
    /./,
  ],
  [
    'arrays within arrays',
    FrameType.CALL,
    (frame, socket) =>
      socket.write(ofLength(frame, FrameType.ERROR, MIB / 2, Buffer.alloc(MIB / 2, 0x81))),
    'ERR_FRAME_MALFORMED',
    /./,
  ],
  [
    'a result of the wrong kind',
    FrameType.CALL,
    (frame, socket) => socket.write(messageFrame(FrameType.RESULT, frame.id, ['1', {}, 'none'])),
    'ERR_FRAME_MALFORMED',
    /./,
  ],
  [
    'a frame of the wrong kind',
    FrameType.CALL,
    (frame, socket) => socket.write(messageFrame(FrameType.WELCOME, frame.id, welcome)),
    'ERR_PROTOCOL_UNEXPECTED',
    /WELCOME.*RESULT or ERROR/,
  ],
  [
    'an error of half a megabyte',
    FrameType.CALL,
    (frame, socket) => {
      const error = failure('ERR_CALL_MALFORMED', { why: 'x'.repeat(MIB / 2) });
      socket.write(messageFrame(FrameType.ERROR, frame.id, errorBody(error)));
    },
    'ERR_FRAME_MALFORMED',
    /an ERROR has \d+ bytes/,
  ],
  [
    'an error of commands for terminals',
    FrameType.CALL,
    (frame, socket) => {
      const error = failure('ERR_CALL_MALFORMED', { why: escapes });
      socket.write(messageFrame(FrameType.ERROR, frame.id, errorBody(error)));
    },
    'ERR_CALL_MALFORMED',
    /\\u001b]0;owned\\u0007/,
  ],
];

t.test('lies end a session by their names, and take no memory', async (t) => {
  const agents = await Promise.all(lies.map(([, type, lie]) => lieTo(type, lie)));
  t.teardown(() => Promise.all(agents.map((agent) => agent.close())));
  const addresses = agents.map(({ address }) => address);
  const child = spawn(process.execPath, ['--expose-gc', liedTo, ...addresses], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { outcomes, peakBytes } = (await json(child.stdout)) as {
    outcomes: { code?: string; message: string }[];
    peakBytes: number;
  };
  for (const [index, [what, , , code, message]] of lies.entries()) {
    t.match(outcomes[index], { code, message }, what);
  }
  t.ok(peakBytes < 256 * MIB, `${Math.ceil(peakBytes / MIB)} MiB at most`);
});

t.test('a guest that sends more than the window of a stream ends that stream', async (t) => {
  const stretch = new Uint8Array(600);
  const events = (id: number, bytes: Uint8Array, dropped = 0) =>
    messageFrame(FrameType.EVENTS, id, [0, 1, 0, 0, 0, 0, dropped, 0, 0, bytes]);
  let toGuest: Socket | undefined;
  const agent = await fakeAgent((frame, socket) => {
    if (frame.type === FrameType.JOIN) {
      socket.write(messageFrame(FrameType.WELCOME, frame.id, welcome));
    } else {
      toGuest = socket;
      socket.write(answer(frame, 0));
    }
  });
  t.teardown(agent.close);
  const session = await Session.connect(agent.address);
  t.teardown(() => session.close());
  const reported: number[] = [];
  let goOn = () => {};
  const subscribe = (id: number) =>
    session.subscribe({ source: 'file', file: id }, { windowBytes: 1000 }, ({ dropped }) => {
      reported.push(dropped);
      return new Promise((resolve) => {
        goOn = resolve;
      });
    });
  const greedy = await subscribe(1);
  toGuest?.write(Buffer.concat([events(1, stretch), events(1, stretch)]));
  await t.rejects(greedy.ended, {
    code: 'ERR_PROTOCOL_UNEXPECTED',
    message: /EVENTS of 600 bytes after 600 without credit.*the window of 1000 bytes/,
  });
  goOn();
  // Reports of what was dropped have no bytes. However many come, one of them waits.
  reported.length = 0;
  const talkative = await subscribe(2);
  const reports = Array.from({ length: 1000 }, (_, at) => events(2, new Uint8Array(0), at + 2));
  toGuest?.write(Buffer.concat([events(2, stretch, 1), ...reports]));
  await until('all reports', () => talkative.statistics.dropped === 1001);
  t.same(reported, [1]);
  goOn();
  await until('the last report', () => reported.length === 2);
  t.same(reported, [1, 1001]);
  goOn();
  // A record that is larger than the window comes alone.
  const large = await subscribe(3);
  toGuest?.write(events(3, new Uint8Array(5000)));
  await until('the record', () => large.statistics.bytes === 5000);
  goOn();
});
