import { createHash } from 'node:crypto';
import http from 'node:http';
import tls from 'node:tls';
import { createServer, type Server, type Socket } from '../../src/transport/index.js';
import { openDescriptors } from '../descriptors.js';
import { makeIdentity } from './certificate.js';
import { readLine, readPattern, writePattern } from './stream-tools.js';

/** What the peer answers to `stats`, as JSON. */
export interface PeerStatistics {
  descriptors: number;
  connections: number;
  rssBytes: number;
}

export const TLS_NAME = 'waep.test';

interface PeerState {
  server: Server;
  http: http.Server;
  tls: tls.Server;
  certificate: string;
}

type Behaviour = (socket: Socket, args: string[], state: PeerState) => Promise<void> | void;

/**
 * What the peer does with a connection is the first word of its first line. Where no half-close can
 * be relied on, lengths are told beforehand.
 */
const behaviours: Readonly<Record<string, Behaviour>> = {
  /** Sends back what comes, until the end. */
  echo(socket) {
    socket.pipe(socket);
  },

  /** Reads so many bytes, resting so many milliseconds every 256 KiB; answers hash and peak. */
  async sink(socket, [sizeBytes, pauseMs]) {
    const { hash, peakBytes } = await readPattern(socket, {
      sizeBytes: Number(sizeBytes),
      pauseMs: Number(pauseMs),
    });
    socket.end(`${hash} ${peakBytes}\n`);
  },

  /** Sends so many bytes of the pattern, then the most that waited in its own buffer. */
  async source(socket, [sizeBytes]) {
    const { peakBytes } = await writePattern(socket, Number(sizeBytes));
    socket.end(`${peakBytes}\n`);
  },

  /** Reads to the end and only then answers. */
  async 'until-end'(socket) {
    const { hash, readBytes } = await readPattern(socket);
    socket.end(`${readBytes} ${hash}\n`);
  },

  /** Closes at once. */
  close(socket) {
    socket.destroy();
  },

  /** Keeps the connection and does nothing, until the end. */
  hold(socket) {
    socket.resume().once('end', () => socket.end());
  },

  /** Tells who is connected. */
  who(socket) {
    const { remoteCid, remotePort } = socket;
    socket.end(`${JSON.stringify({ remoteCid, remotePort })}\n`);
  },

  async stats(socket, _args, { server }) {
    const connections = await new Promise<number>((resolve) =>
      server.getConnections((_error, count) => resolve(count)),
    );
    const statistics: PeerStatistics = {
      descriptors: openDescriptors(),
      connections,
      rssBytes: process.memoryUsage.rss(),
    };
    socket.end(`${JSON.stringify(statistics)}\n`);
  },

  http(socket, _args, state) {
    socket.write('ok\n');
    state.http.emit('connection', socket);
  },

  tls(socket, _args, state) {
    socket.write(`${Buffer.from(state.certificate).toString('base64')}\n`);
    state.tls.emit('connection', socket);
  },
};

function makeHttpServer(): http.Server {
  return http.createServer((request, response) => {
    const hash = createHash('sha256');
    request.on('data', (chunk: Buffer) => hash.update(chunk));
    request.on('end', () => response.end(`${request.method} ${hash.digest('hex')}`));
  });
}

/** Starts the peer of the conformance suite and resolves when it listens. */
export async function servePeer(address: string): Promise<Server> {
  const identity = makeIdentity(TLS_NAME);
  const server = createServer({ allowHalfOpen: true });
  const state: PeerState = {
    server,
    http: makeHttpServer(),
    tls: tls.createServer(identity, (secure) => {
      secure.on('error', () => secure.destroy());
      secure.pipe(secure);
    }),
    certificate: identity.cert,
  };
  state.tls.on('tlsClientError', (_error, secure) => secure.destroy());
  server.on('connection', (socket) => {
    // The other side's tests end connections in every way there is.
    socket.on('error', () => socket.destroy());
    const serve = async (): Promise<void> => {
      const [name = '', ...args] = (await readLine(socket)).split(' ');
      const behaviour = behaviours[name];
      if (behaviour === undefined) throw new Error(`no behaviour ${name}`);
      await behaviour(socket, args, state);
    };
    serve().catch(() => socket.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, () => resolve());
  });
  return server;
}
