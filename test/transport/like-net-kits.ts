/* node:net and this library, made alike for the observations of like-net.ts. */
import net from 'node:net';
import { join } from 'node:path';
import type { Test } from 'tap';
import { createConnection, createServer, type Server } from '../../src/transport/index.js';
import {
  type AnyServer,
  type AnySocket,
  type Behaviour,
  behaviours,
  type Difference,
  differenceHere,
  type Kit,
  observed,
  type TableTransport,
} from './like-net.js';

let made = 0;

/** node:net itself, over Unix sockets in `folder` or over TCP. */
export function nodeKit(folder?: string): Kit {
  return {
    createServer: (options = {}, onConnection) => net.createServer(options, onConnection),
    listen(server, options = {}) {
      const node = server as net.Server;
      const path = folder === undefined ? undefined : join(folder, `n${made++}`);
      if (path !== undefined) node.listen({ path, ...options });
      else node.listen({ port: 0, host: '127.0.0.1', ...options });
      const where = () => {
        const address = node.address();
        if (typeof address === 'string' || address === null) return { path: path ?? '' };
        return { port: address.port, host: '127.0.0.1' };
      };
      return {
        dial: (more = {}, onConnect) => net.createConnection({ ...where(), ...more }, onConnect),
        listenAgain: (again) => void (again as net.Server).listen(where()),
      };
    },
    dialNobody: () =>
      net.createConnection(
        folder === undefined ? { port: 1, host: '127.0.0.1' } : { path: join(folder, 'nobody') },
      ),
  };
}

/** Where a transport listens, and by which address others reach that. */
export interface TransportPlaces {
  /** A place where nobody listens yet. */
  next(): { listen: string; dial: (server: Server) => string };
  readonly nobody: string;
}

/** A transport of this library. */
export function transportKit(places: TransportPlaces): Kit {
  return {
    createServer: (options = {}, onConnection) =>
      createServer(options, onConnection as never) as unknown as AnyServer,
    listen(server, options = {}) {
      const { listen, dial } = places.next();
      const ours = server as unknown as Server;
      ours.listen(listen, options);
      return {
        dial: (more, onConnect): AnySocket =>
          more === undefined && onConnect !== undefined
            ? createConnection(dial(ours), onConnect)
            : createConnection(dial(ours), more, onConnect),
        listenAgain: (again) => void (again as unknown as Server).listen(ours.address() ?? listen),
      };
    },
    dialNobody: () => createConnection(places.nobody),
  };
}

/** Asserts that a behaviour looks as node:net's, or that it does not where it is to differ. */
export function compareSeen(
  t: Test,
  { name }: Behaviour,
  difference: Difference | undefined,
  reference: string,
  seen: string | undefined,
): void {
  if (difference === undefined) t.equal(seen, reference, name);
  else t.not(seen, reference, `${name}: different on purpose`);
}

/**
 * Observes every behaviour over node:net and over a transport, and compares.
 *
 * @param closesBoth whether the far end closes both directions when one has ended
 */
export async function compare(
  t: Test,
  transport: TableTransport,
  node: Kit,
  ours: Kit,
  closesBoth = false,
): Promise<void> {
  for (const behaviour of behaviours) {
    if (behaviour.observe === undefined) continue;
    const declared = differenceHere(behaviour, transport);
    const difference = closesBoth && declared?.equalOnceClosed ? undefined : declared;
    const reference = await observed(behaviour, node);
    const seen = await observed(behaviour, ours, difference !== undefined);
    compareSeen(t, behaviour, difference, reference, seen);
  }
}
