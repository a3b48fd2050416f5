import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { Call } from '../../src/call.js';
import { type Frame, FrameType, messageFrame, putHeader } from '../../src/frame/index.js';
import { hello } from '../../src/session/handshake.js';
import { Session } from '../../src/session.js';
import { until } from '../until.js';
import { fakeAgent, welcome } from './fake-agent.js';

/** How long it is watched that nothing more is sent. */
const WATCHED_MS = 100;

const call: Call = {
  command: 1,
  args: 1,
  result: 0,
  buffers: [Buffer.alloc(8), 8],
  relocations: [],
};
const answer = (frame: Frame, value: unknown = [0, 0, [Buffer.from([frame.id])]]) =>
  messageFrame(FrameType.RESULT, frame.id, value);

t.test('answers find their calls in any order', async (t) => {
  const waiting: Frame[] = [];
  const agent = await fakeAgent((frame, socket) => {
    waiting.push(frame);
    if (waiting.length < 8) return;
    const order = [3, 0, 7, 1, 6, 2, 5, 4];
    // In one write, so that the client also has to take them apart.
    socket.write(Buffer.concat(order.map((i) => answer(waiting[i] as Frame))));
  });
  t.teardown(agent.close);
  const session = await Session.connect(agent.address);
  t.teardown(() => session.close());
  const replies = await Promise.all(Array.from({ length: 8 }, () => session.call(call)));
  t.same(
    replies.map((reply) => reply.outputs[0]?.[0]),
    waiting.map((frame) => frame.id),
  );
  t.match(session.statistics, { framesSent: 8, framesReceived: 8, pendingCalls: 0 });
});

t.test('a client has something to do while the agent answers', async (t) => {
  let answerHello = () => {};
  const asked = new Promise<void>((resolve) => {
    answerHello = resolve;
  });
  const agent = await fakeAgent(
    () => {},
    (socket, { id }) => {
      void asked.then(() => socket.write(messageFrame(FrameType.WELCOME, id, welcome)));
    },
  );
  t.teardown(agent.close);
  const { stream, welcome: answered } = await hello(agent.address, {}, { sent: answerHello });
  t.equal(answered.agent, 'fake');
  stream.destroy();
});

t.test('answers may fill the receive buffer to its last byte', async (t) => {
  const waiting: [Frame, Socket][] = [];
  const agent = await fakeAgent((frame, socket) => {
    waiting.push([frame, socket]);
    if (waiting.length > 3) socket.write(answer(frame));
  });
  t.teardown(agent.close);
  const session = await Session.connect(agent.address);
  t.teardown(() => session.close());
  const ahead = { ahead: true, trimmed: true };
  const one = session.call(call, ahead);
  const hasty = () => session.call(call, { ...ahead, timeoutMs: 20 });
  const late = { code: 'ERR_CALL_TIMEOUT' };
  await Promise.all([t.rejects(hasty(), late), t.rejects(hasty(), late)]);
  // Nobody waits for the others, so the next call is alone while they are in the buffer and behind.
  const next = one.then(() => session.call(call));
  const [[first, socket], [second], [third]] = waiting as [
    [Frame, Socket],
    [Frame, Socket],
    [Frame, Socket],
  ];
  const small = answer(first);
  const large = (bytes: number) => answer(second, [0, 0, [new Uint8Array(bytes).fill(1)]]);
  const restBytes = 64 * 1024 - small.length;
  // The header and the lengths take the same room in both.
  const rest = large(restBytes - (large(60_000).length - 60_000));
  socket.write(Buffer.concat([small, rest, answer(third)]));
  t.equal((await next).result, 0);
});

t.test('a call that is not answered ends at its deadline', async (t) => {
  const frames: [Frame, Socket][] = [];
  const agent = await fakeAgent((frame, socket) => frames.push([frame, socket]));
  t.teardown(agent.close);
  const session = await Session.connect(agent.address, { callTimeoutMs: 60_000 });
  t.teardown(() => session.close());
  const startMs = performance.now();
  const slow = session.call(call);
  await t.rejects(session.call(call, { timeoutMs: 100, name: 'BPF_X' }), {
    code: 'ERR_CALL_TIMEOUT',
    message: /No answer to BPF_X from unix:.* within 100 ms/,
  });
  const elapsedMs = performance.now() - startMs;
  t.ok(elapsedMs >= 99 && elapsedMs < 60_000, `after ${elapsedMs} ms`);
  await until('both calls, at the agent', () => frames.length === 2);
  // An answer that comes too late is nobody's; the session goes on.
  for (const [frame, socket] of frames) socket.write(answer(frame));
  t.equal((await slow).result, 0, 'one that may take longer does');
  const next = session.call(call);
  await until('the third call, at the agent', () => frames.length === 3);
  const [frame, socket] = frames[2] as [Frame, Socket];
  socket.write(answer(frame));
  t.equal((await next).result, 0);
});

t.test('a long deadline is kept, too', async (t) => {
  const agent = await fakeAgent(() => {});
  t.teardown(agent.close);
  const session = await Session.connect(agent.address, { callTimeoutMs: 1200 });
  t.teardown(() => session.close());
  const startMs = performance.now();
  await t.rejects(session.call(call), { code: 'ERR_CALL_TIMEOUT' });
  const elapsedMs = performance.now() - startMs;
  t.ok(elapsedMs >= 1199, `after ${elapsedMs} ms`);
});

t.test('a call can be aborted', async (t) => {
  const agent = await fakeAgent(() => {});
  t.teardown(agent.close);
  const session = await Session.connect(agent.address);
  t.teardown(() => session.close());
  const abort = new AbortController();
  const pending = session.call(call, { signal: abort.signal });
  abort.abort(new Error('enough'));
  await t.rejects(pending, { code: 'ERR_CALL_ABORTED', cause: { message: 'enough' } });
  await t.rejects(session.call(call, { signal: abort.signal }), { code: 'ERR_CALL_ABORTED' });
  t.equal(session.statistics.pendingCalls, 0);
});

t.test('however the connection ends, every pending call rejects and says why', async (t) => {
  const torn = new Uint8Array(12);
  putHeader(torn, 0, 100, FrameType.RESULT, 1);
  const large = new Uint8Array(12);
  putHeader(large, 0, 0x7fffffff, FrameType.RESULT, 1);
  const ends: Record<string, [(socket: Socket, frame: Frame) => void, RegExp, string?]> = {
    'a clean end': [(socket) => socket.end(), /the guest ended the connection/],
    'an end inside a frame': [
      (socket) => socket.end(torn),
      /ended inside a frame: 12 of 112 bytes/,
      'ERR_FRAME_TRUNCATED',
    ],
    'an end inside a header': [
      (socket) => socket.end(torn.subarray(0, 5)),
      /ended inside a frame: 5 of 12 bytes/,
      'ERR_FRAME_TRUNCATED',
    ],
    'a frame beyond the limit': [
      (socket) => socket.write(large),
      /2147483647 bytes exceeds the limit/,
      'ERR_FRAME_TOO_LARGE',
    ],
    'a header of another version': [
      (socket) => socket.write(Uint8Array.of(0, 0, 0, 0, 0x20, 1, 0, 0, 1, 0, 0, 0)),
      /header has bits set/,
      'ERR_FRAME_MALFORMED',
    ],
    'an answer that makes no sense': [
      (socket, frame) => socket.write(answer(frame, ['no'])),
      /Malformed frame/,
      'ERR_FRAME_MALFORMED',
    ],
    'an answer of another type': [
      (socket, frame) => socket.write(messageFrame(FrameType.OPEN, frame.id, [])),
      /Received OPEN; expected RESULT or ERROR/,
      'ERR_PROTOCOL_UNEXPECTED',
    ],
    'a last frame': [
      (socket) => socket.write(messageFrame(FrameType.ERROR, 0, ['ERR_AGENT', { why: 'tired' }])),
      /The agent failed: tired/,
      'ERR_AGENT',
    ],
  };
  for (const [name, [act, message, cause]] of Object.entries(ends)) {
    await t.test(name, async (t) => {
      const frames: Frame[] = [];
      const agent = await fakeAgent((frame, socket) => {
        frames.push(frame);
        if (frames.length === 3) act(socket, frames[0] as Frame);
      });
      t.teardown(agent.close);
      const session = await Session.connect(agent.address);
      const reasons: Error[] = [];
      session.onClose((reason) => reasons.push(reason));
      const results = await Promise.allSettled([1, 2, 3].map(() => session.call(call)));
      const errors = results.map((result) => (result as PromiseRejectedResult).reason);
      t.equal(errors.length, 3);
      for (const error of errors.slice(1)) {
        t.match(error, { code: 'ERR_SESSION_CLOSED', message });
        if (cause !== undefined) t.match(error.cause, { code: cause });
      }
      t.ok(errors[0] instanceof Error);
      t.equal(session.closed, true);
      t.equal(reasons.length, 1);
      await t.rejects(session.call(call), { code: 'ERR_SESSION_CLOSED' }, 'a later call');
    });
  }
});

t.test('closing rejects what is pending', async (t) => {
  const agent = await fakeAgent(() => {});
  t.teardown(agent.close);
  const session = await Session.connect(agent.address);
  const pending = session.call(call);
  session.close();
  session.close();
  await t.rejects(pending, { code: 'ERR_SESSION_CLOSED', message: /closed by this side/ });
});

t.test('a handshake that fails', async (t) => {
  const handshakes: Record<string, [(socket: Socket, hello: Frame) => void, object]> = {
    'another version': [
      (socket, hello) => socket.write(messageFrame(FrameType.WELCOME, hello.id, { protocol: 2 })),
      {
        code: 'ERR_PROTOCOL_VERSION',
        message: /: The client speaks version 1 .* the agent version 2/,
      },
    ],
    'a refusal': [
      (socket, hello) =>
        socket.write(
          messageFrame(FrameType.ERROR, hello.id, ['ERR_PEER_REFUSED', { peer: 'x', why: 'y' }]),
        ),
      { code: 'ERR_PEER_REFUSED', message: /from x: y/ },
    ],
    'an end': [(socket) => socket.end(), { code: 'ERR_SESSION_CLOSED', message: /introduced/ }],
    silence: [() => {}, { code: 'ERR_HANDSHAKE_TIMEOUT' }],
    'something else': [
      (socket, hello) => socket.write(messageFrame(FrameType.RESULT, hello.id, [])),
      { code: 'ERR_PROTOCOL_UNEXPECTED', message: /Received RESULT; expected WELCOME/ },
    ],
    nonsense: [
      (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
      { code: 'ERR_NO_AGENT', message: /^The server at unix:.* is no agent: .*"HTTP\/1.1 400"/ },
    ],
  };
  for (const [name, [handshake, expected]] of Object.entries(handshakes)) {
    const agent = await fakeAgent(() => {}, handshake);
    const handshakeTimeoutMs = name === 'silence' ? 300 : 60_000;
    const failed = Session.connect(agent.address, { handshakeTimeoutMs });
    await t.rejects(failed, expected as { code: string }, name);
    await t.rejects(failed, { message: new RegExp(agent.address) }, `${name}: where`);
    await agent.close();
  }
  await t.rejects(Session.connect('unix:/nowhere/at/all.sock'), {
    code: 'ENOENT',
    message: /^unix:\/nowhere\/at\/all.sock: /,
  });
});

t.test('a peer that does not read holds calls back, not the memory', async (t) => {
  const seen: number[] = [];
  let resume = () => {};
  const agent = await fakeAgent(
    (frame, socket) => {
      seen.push(frame.id);
      socket.write(answer(frame, [0, 0, []]));
    },
    (socket, hello) => {
      socket.write(messageFrame(FrameType.WELCOME, hello.id, { ...welcome, chainCalls: 8 }));
      socket.pause();
      resume = () => socket.resume();
    },
  );
  t.teardown(agent.close);
  const session = await Session.connect(agent.address, { maxQueuedBytes: 256 * 1024 });
  t.teardown(() => session.close());
  const big: Call = { ...call, buffers: [Buffer.alloc(8), Buffer.alloc(200_000)] };
  const calls = Array.from({ length: 60 }, () => session.call(big));
  await until('the first call, on its way', () => session.statistics.framesSent > 0);
  await sleep(WATCHED_MS);
  t.ok(session.statistics.queuedBytes < 1024 * 1024, `${session.statistics.queuedBytes} queued`);
  t.ok(session.statistics.framesSent < 20);
  await t.rejects(session.call(call, { timeoutMs: 50, name: 'BPF_X' }), {
    code: 'ERR_CALL_TIMEOUT',
    message: /BPF_X .* within 50 ms. The call could not be sent in that time, so it has no effect/,
  });
  const abort = new AbortController();
  const held: Promise<unknown>[] = [
    session.call(call, { signal: abort.signal }),
    session.chain([{ ...call }], { signal: abort.signal }),
    session.open('/x', { signal: abort.signal }),
  ];
  const message = /was not sent yet, so it has no effect/;
  const given = { code: 'ERR_CALL_ABORTED', cause: { message: 'enough' }, message };
  const givenUp = held.map((one) => t.rejects(one, given));
  const sent = session.statistics.framesSent;
  abort.abort(new Error('enough'));
  await Promise.all(givenUp);
  t.equal(session.statistics.framesSent, sent);
  resume();
  await Promise.all(calls);
  t.equal(seen.length, 60, 'none of the calls that were given up was sent');
});

t.test('a peer that does not read is silent, whatever waits to be sent to it', async (t) => {
  const agent = await fakeAgent(
    () => {},
    (socket, hello) => {
      const session = { ...welcome.session, silenceMs: 400 };
      socket.write(messageFrame(FrameType.WELCOME, hello.id, { ...welcome, session }));
      socket.pause();
    },
  );
  t.teardown(agent.close);
  const session = await Session.connect(agent.address, {
    maxQueuedBytes: 64 * 1024,
    callTimeoutMs: Number.POSITIVE_INFINITY,
  });
  t.teardown(() => session.close());
  const big: Call = { ...call, buffers: [Buffer.alloc(8), Buffer.alloc(200_000)] };
  const calls = Array.from({ length: 8 }, () => session.call(big));
  const ends = calls.map((one) => t.rejects(one, { code: 'ERR_SESSION_CLOSED' }));
  await Promise.all(ends);
});

t.test('a call that waits for the next connection keeps its deadline', async (t) => {
  const agent = await fakeAgent(
    (_frame, socket) => socket.destroy(),
    (socket, hello) => {
      const session = { ...welcome.session, leaseMs: 60_000 };
      socket.write(messageFrame(FrameType.WELCOME, hello.id, { ...welcome, session }));
    },
  );
  t.teardown(agent.close);
  const session = await Session.connect(agent.address, { leaseMs: 60_000, reconnect: false });
  t.teardown(() => session.close());
  await t.rejects(session.call(call), { code: 'ERR_SESSION_INTERRUPTED' });
  t.ok(session.interrupted);
  await t.rejects(session.call(call, { timeoutMs: 50 }), { code: 'ERR_CALL_TIMEOUT' });
  const abort = new AbortController();
  const held = session.call(call, { signal: abort.signal });
  abort.abort();
  await t.rejects(held, { code: 'ERR_CALL_ABORTED' });
});
