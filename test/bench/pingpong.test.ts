import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Client } from '../../bench/client/client.js';
import { compilePrograms } from '../../bench/compile.js';
import { freePort } from '../../bench/lab.js';
import { limitCommand, limitSamples } from '../../bench/limit.js';
import { echoMetric } from '../../bench/metrics.js';
import { run, startServer } from '../../bench/process.js';

/** A folder whose path is short enough for sockets. */
async function socketFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pp-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

const { pingpong } = await compilePrograms();
const amount = { samples: 50, warmup: 5 };
const exchange = { requestBytes: 300, replyBytes: 70_000 };

t.test('round trips on each transport', async (t) => {
  const folder = await socketFolder(t);
  for (const address of [`unix:${join(folder, 's')}`, `tcp:127.0.0.1:${await freePort()}`]) {
    await using _server = await startServer([pingpong, 'serve', address], { ready: 'listening' });

    const samples = limitSamples(await run(limitCommand(pingpong, address, exchange, amount)));
    t.equal(samples.length, 50, `plain C over ${address}`);
    t.ok(samples.every((ns) => ns > 500 && ns < 60e9));

    await using client = new Client();
    const echoes = await client.measure({ task: 'echo', address, payloadBytes: 40_000, ...amount });
    const values = echoes.get(echoMetric(40_000)) ?? [];
    t.equal(values.length, 50, `waep/transport over ${address}`);
    t.ok(values.every((ns) => ns > 500 && ns < 60e9));
  }
});

t.test('the multiplexer’s handshake', async (t) => {
  const path = join(await socketFolder(t), 'mux');
  const sockets: Socket[] = [];
  const answers: Record<string, string> = {
    '1': 'OK 1073741824\n',
    '2': 'NO\n',
  };
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.once('data', (line: Buffer) => {
      const answer = answers[/^CONNECT (\d+)\n$/.exec(line.toString())?.[1] ?? ''];
      if (answer === undefined) {
        socket.end();
        return;
      }
      // What follows the answer belongs to the stream: sizes, then requests of 8 bytes.
      socket.write(answer);
      let received = 0;
      socket.on('data', (chunk: Buffer) => {
        const before = Math.max(0, Math.floor((received - 8) / 8));
        received += chunk.length;
        const replies = Math.max(0, Math.floor((received - 8) / 8)) - before;
        if (replies > 0) socket.write(Buffer.alloc(replies * 4));
      });
    });
  });
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  const small = { requestBytes: 8, replyBytes: 4 };
  const samples = await run(limitCommand(pingpong, `vsock-mux:${path}:1`, small, amount));
  t.equal(limitSamples(samples).length, 50);
  for (const [port, expected] of [
    ['2', /not an OK line/],
    ['3', /refused/],
  ] as const) {
    const refused = run(limitCommand(pingpong, `vsock-mux:${path}:${port}`, small, amount));
    await t.rejects(refused, { message: expected });
  }
});

t.test('mistakes are named', async (t) => {
  for (const [args, expected] of [
    [['client', 'carrier-pigeon'], /malformed address carrier-pigeon/],
    [['client', 'tcp:localhost:1'], /malformed address tcp:localhost:1/],
    [['serve', 'vsock-mux:/x:1'], /malformed address vsock-mux/],
    [['client', 'unix:/nonexistent'], /connect unix:\/nonexistent: No such file/],
    [['whistle', 'unix:/x'], /usage: pingpong/],
    [[], /usage: pingpong/],
  ] as const) {
    const { status, stderr } = spawnSync(pingpong, args, { encoding: 'utf8' });
    t.not(status, 0, args.join(' '));
    t.match(stderr, expected);
  }
});

t.test('a program that ends before it is ready is an error with its words', async (t) => {
  await t.rejects(startServer([pingpong, 'serve', 'unix:/nonexistent/s'], { ready: 'listening' }), {
    code: 'ERR_TOOL_FAILED',
    message: /bind unix:\/nonexistent\/s: No such file/,
  });
});

t.test('a client hands its errors over, and outlives them', async (t) => {
  await using client = new Client();
  const address = 'unix:/nonexistent/s';
  for (let attempt = 0; attempt < 2; attempt++) {
    await t.rejects(client.measure({ task: 'lookup', address, ...amount }), {
      code: 'ERR_TOOL_FAILED',
      message: /ENOENT/,
    });
  }
});
