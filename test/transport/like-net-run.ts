/*
 * The observations of like-net.ts in a guest, bundled into one file:
 *
 *   node like-net.mjs --observe               both ends here, by loopback; prints a line of JSON each
 *   node like-net.mjs --mirror 9000 --count 200 [--half-close]
 *
 * A mirror sends what comes to a port back to the host, to the port that is `count` higher, so that
 * one process of the host has both ends: one that it dialled, one that it accepted. It passes the
 * end of one direction on by --half-close, which the transport must have, and ends both otherwise.
 */
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import {
  createConnection,
  createServer,
  formatAddress,
  type Socket,
} from '../../src/transport/index.js';
import { behaviours, differenceHere, observed } from './like-net.js';
import { transportKit } from './like-net-kits.js';

/** What a behaviour looked like. */
export interface Observation {
  readonly behaviour: string;
  readonly seen: string;
}

// Away from those of a mirror.
const PORT_OF_NOBODY = 19_999;

function carry(from: Socket, to: Socket, halfClose: boolean): void {
  from.pipe(to, { end: halfClose });
  // The kernel has a half-close, of which a multiplexer shows the host nothing.
  if (!halfClose) from.on('end', () => to.destroySoon());
  from.on('error', () => to.destroy());
  from.on('close', (hadError) => {
    if (hadError || !from.readableEnded) to.destroy();
  });
}

async function mirror(first: number, count: number, halfClose: boolean): Promise<void> {
  for (let port = first; port < first + count; port++) {
    const server = createServer({ allowHalfOpen: halfClose }, (peer) => {
      const next = createConnection(`vsock:host:${port + count}`, { allowHalfOpen: halfClose });
      carry(peer, next, halfClose);
      carry(next, peer, halfClose);
    });
    server.listen(`vsock:any:${port}`);
    await once(server, 'listening');
  }
  console.log(JSON.stringify({ listening: first }));
}

async function observeLoopback(): Promise<void> {
  let port = PORT_OF_NOBODY + 1;
  const kit = transportKit({
    next: () => ({
      listen: `vsock:any:${port++}`,
      dial: (server) =>
        formatAddress(server.address() ?? { transport: 'unix', path: '/' }).replace('any', 'local'),
    }),
    nobody: `vsock:local:${PORT_OF_NOBODY}`,
  });
  for (const behaviour of behaviours) {
    if (behaviour.observe === undefined) continue;
    const impatient = differenceHere(behaviour, 'vsock') !== undefined;
    const seen = await observed(behaviour, kit, impatient);
    console.log(JSON.stringify({ behaviour: behaviour.name, seen } satisfies Observation));
  }
}

const { values } = parseArgs({
  options: {
    observe: { type: 'boolean' },
    mirror: { type: 'string' },
    count: { type: 'string' },
    'half-close': { type: 'boolean', default: false },
  },
});
if (values.observe) await observeLoopback();
else await mirror(Number(values.mirror), Number(values.count), values['half-close']);
