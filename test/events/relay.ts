import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A Unix socket in front of an agent's address, whose connections can be cut. */
export interface Relay {
  address: string;
  /** Cuts the connection that was made as the `index`-th. */
  cut(index: number): void;
  /** Stops, or resumes, taking what comes from the other side for it. */
  pause(index: number, paused: boolean): void;
  /** Takes what comes from the other side for it, and keeps it. Returns how many bytes it has. */
  hold(index: number): () => number;
  close(): Promise<void>;
}

/** Relays to `target`, a Unix socket or a TCP port. The caller closes it. */
export async function relayTo(target: string): Promise<Relay> {
  const folder = mkdtempSync(join(tmpdir(), 'waep-test-'));
  const path = join(folder, 'relay.sock');
  const pairs: [near: Socket, far: Socket][] = [];
  const server = createServer((near) => {
    const far = dial(target);
    pairs.push([near, far]);
    const end = () => {
      near.destroy();
      far.destroy();
    };
    near.on('error', end).on('close', end).pipe(far);
    far.on('error', end).on('close', end).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    address: `unix:${path}`,
    cut: (index) => pairs[index]?.[0].destroy(),
    pause: (index, paused) => {
      const far = pairs[index]?.[1];
      if (paused) far?.pause();
      else far?.resume();
    },
    hold: (index) => {
      const [near, far] = pairs[index] ?? [];
      let bytes = 0;
      if (near) far?.unpipe(near);
      far?.on('data', (chunk) => {
        bytes += chunk.length;
      });
      far?.resume();
      return () => bytes;
    },
    close: async () => {
      for (const [near] of pairs) near.destroy();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function dial(target: string): Socket {
  if (target.startsWith('unix:')) return connect(target.slice('unix:'.length));
  const { hostname, port } = new URL(target.replace('tcp:', 'tcp://'));
  return connect(Number(port), hostname);
}
