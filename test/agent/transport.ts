import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
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

/**
 * Makes another transport to the agent at the Unix socket `address`: one more such socket, or TCP,
 * whose connections a cut resets.
 */
export async function breakableTransport(
  address: string,
  over: 'unix' | 'tcp' = 'unix',
): Promise<BreakableTransport> {
  const folder = mkdtempSync(join(tmpdir(), 'waep-test-'));
  const path = join(folder, 'transport.sock');
  const pairs = new Set<readonly [near: Socket, far: Socket]>();
  const server = createServer((near) => {
    const far = connect(address.slice('unix:'.length));
    const pair = [near, far] as const;
    pairs.add(pair);
    for (const [one, other] of [pair, [far, near]] as const) {
      one.on('error', () => {});
      one.on('close', () => {
        pairs.delete(pair);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  server.listen(over === 'unix' ? { path } : { port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const cut = () => {
    for (const [near, far] of pairs) {
      if (over === 'tcp') near.resetAndDestroy();
      else near.destroy();
      far.destroy();
    }
  };
  return {
    address:
      over === 'unix' ? `unix:${path}` : `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`,
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
