import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A transport to an agent that a test can break. */
export interface BreakableTransport {
  address: string;
  /** Drops every connection there is; new ones can be made. */
  cut(): void;
  /** Lets no answer through any more. Returns how many bytes of requests have gone through since. */
  mute(): () => number;
  close(): Promise<void>;
}

/** Makes another transport to the agent at the Unix socket `address`. */
export async function breakableTransport(address: string): Promise<BreakableTransport> {
  const folder = mkdtempSync(join(tmpdir(), 'waep-test-'));
  const path = join(folder, 'transport.sock');
  const sockets = new Set<Socket>();
  const pairs: (readonly [near: Socket, far: Socket])[] = [];
  const server = createServer((near) => {
    const far = connect(address.slice('unix:'.length));
    pairs.push([near, far]);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    address: `unix:${path}`,
    cut,
    mute: () => {
      let bytes = 0;
      for (const [near, far] of pairs) {
        far.unpipe(near).resume();
        near.on('data', (chunk) => {
          bytes += chunk.length;
        });
      }
      return () => bytes;
    },
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      cut();
      await closed;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
