import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Frame, FrameAssembler, FrameType, messageFrame } from '../../src/frame/index.js';

/** A WELCOME that any session is content with. */
export const welcome = {
  protocol: 1,
  agent: 'fake',
  profile: 'fake',
  kernel: {
    release: '0',
    version: '0',
    machine: 'x86_64',
    bootId: '0',
    possibleCpus: 1,
    pageSize: 4096,
    btf: false,
  },
  limits: {
    maxFrameBytes: 1 << 20,
    maxCallBytes: 1 << 20,
    maxBuffers: 16,
    maxRelocations: 64,
    maxHandles: 16,
    maxStreams: 4,
    maxEventsPerSecond: 0,
  },
  session: { token: new Uint8Array(32), leaseMs: 0, silenceMs: 0 },
};

/** An agent that answers as a test wants, for what no real one would do. */
export async function fakeAgent(
  onFrame: (frame: Frame, socket: Socket) => void,
  handshake: (socket: Socket, hello: Frame) => void = (socket, hello) => {
    socket.write(messageFrame(FrameType.WELCOME, hello.id, welcome));
  },
): Promise<{ address: string; close: () => Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'waep-test-'));
  const path = join(folder, 'agent.sock');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    const assembler = new FrameAssembler(1 << 24);
    socket.on('data', (chunk) => {
      assembler.add(chunk);
      for (let frame = assembler.next(); frame !== undefined; frame = assembler.next()) {
        if (frame.type === FrameType.HELLO) handshake(socket, frame);
        else onFrame(frame, socket);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    address: `unix:${path}`,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
