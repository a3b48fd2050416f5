import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A road to an agent that a test can break. */
export interface BreakableRoad {
  address: string;
  /** Drops every connection there is; new ones can be made. */
  cut(): void;
  close(): Promise<void>;
}

/** Makes another road to the agent at the Unix socket `address`. */
export async function breakableRoad(address: string): Promise<BreakableRoad> {
  const folder = mkdtempSync(join(tmpdir(), 'waep-test-'));
  const path = join(folder, 'road.sock');
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(address.slice('unix:'.length));
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
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      cut();
      await closed;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
