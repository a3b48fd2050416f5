import { randomBytes, timingSafeEqual } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { Socket as NetSocket } from 'node:net';
import type { Duplex } from 'node:stream';
import { failure, systemError, WaepError } from '../../src/errors.js';
import { FrameType, frameTypeName, PROTOCOL_VERSION } from '../../src/frame/header.js';
import {
  errorBody,
  type Hello,
  type Join,
  type JoinPurpose,
  messageFrame,
  parseHello,
  parseJoin,
  type SessionLimits,
  type SessionTerms,
  TOKEN_BYTES,
  type Welcome,
} from '../../src/frame/messages.js';
import { type Frame, readFrame } from '../../src/frame/stream.js';
import { native } from '../../src/native.js';
import type { Acceptance } from '../../src/policy/index.js';
import type { Rules } from '../../src/policy/rules.js';
import { printable } from '../../src/printable.js';
import {
  createServer,
  detach,
  localCid,
  type Server,
  type Socket,
} from '../../src/transport/index.js';
import type { ExecutorCall, ExecutorEnd, ExecutorProcess } from './executor.js';
import { ExecutorPool } from './executor-pool.js';
import { Keeper } from './keeper.js';
import { kernelInfo } from './kernel-info.js';
import { type Secured, TlsGate, type TlsIdentity } from './tls.js';

/** A handshake is a few dozen bytes; no peer needs more to say who it is. */
const MAX_HELLO_BYTES = 64 * 1024;
/** Ports below this one are for privileged processes only. */
const PRIVILEGED_PORTS = 1024;
/** By which the processes of a machine reach each other (VMADDR_CID_LOCAL). */
const LOOPBACK_CID = 1;

/** Who may open sessions, and on which terms: what can be replaced while an agent runs. */
export interface AgentTerms {
  /** The name of the rules, told to clients. */
  profile: string;
  /** Peers that may connect. */
  accept: Acceptance;
  /**
   * With which every peer has to prove who it is, or with `on: 'tcp'` those over TCP; nothing is
   * asked of the vsock port of those.
   */
  tls?: (TlsIdentity & { on?: 'all' | 'tcp' }) | undefined;
  /** The longest lease that a client is granted, in milliseconds. */
  maxLeaseMs: number;
}

export interface AgentOptions extends AgentTerms {
  rules: Rules;
  /** The agent's name and version, told to clients. */
  name: string;
  /** How long a client may take to introduce itself. */
  helloTimeoutMs: number;
  maxSessions: number;
  /**
   * After how long a silence of its client's a connection counts as lost, in milliseconds; 0 for
   * never. A link that is cut shows in nothing else.
   */
  silenceMs: number;
  /**
   * The priority of the threads that read events, as nice(2) counts it: below 0 they get more of a
   * busy processor than programs do, where this process may ask for that. Default 0.
   */
  eventNice?: number;
  /** Whether to keep an executor ready for the next session. Default: no. */
  keepsSpare?: boolean;
}

/** What sessions that begin now get. */
interface Offer extends AgentTerms {
  readonly limits: SessionLimits;
  readonly gate: TlsGate | undefined;
  readonly executors: ExecutorPool;
}

interface OpenSession {
  session: number;
  token: Buffer;
  leaseMs: number;
  executor: ExecutorProcess;
}

/** What an agent tells about its sessions; the audit log is made of these. */
export interface AgentEvents {
  session: [{ session: number; peer: string; client: string }];
  refused: [{ peer: string; error: Error }];
  /** A connection has ended before its peer said anything, as those of health checks do. */
  silent: [{ peer: string }];
  /** Something that a connection met with and nobody foresaw. */
  fault: [{ peer: string; error: Error }];
  /** A session has lost its connection and is kept for the time of its lease. */
  detached: [{ session: number; end: number; leaseMs: number }];
  /** A further connection belongs to a session. */
  joined: [{ session: number; peer: string; purpose: JoinPurpose }];
  ended: [{ session: number; peer: string } & ExecutorEnd];
  /** An address is not listened on any more. */
  failed: [{ address: string; error: Error }];
  /**
   * A call was refused by a rule, or made something that is worth telling. Before it, `dropped`
   * others could not be told.
   */
  call: [{ session: number; peer: string; client: string; call: ExecutorCall; dropped: number }];
}

/**
 * The guest's side: accepts connections, checks who asks, and gives each session an executor of its
 * own. It takes no part in the calls themselves.
 */
export class Agent extends EventEmitter<AgentEvents> {
  readonly #options: AgentOptions;
  #offer: Offer;
  readonly #servers = new Map<Server, string>();
  readonly #open = new Map<number, OpenSession>();
  readonly #handshaking = new Set<Duplex>();
  #sessions = 0;
  /** The offer whose executors' end has been watched for. */
  #prepared: Offer | undefined;
  readonly #retired = new Set<Promise<void>>();
  readonly #reported = new WeakSet<Error>();
  #closed = false;

  constructor(options: AgentOptions) {
    super();
    this.#options = options;
    const { rules, eventNice = 0 } = options;
    this.#offer = this.#offerOf(options, rules.limits, () => Keeper.start(rules, eventNice));
  }

  #offerOf(terms: AgentTerms, limits: SessionLimits, begin: () => Promise<Keeper>): Offer {
    const { profile, accept, tls, maxLeaseMs } = terms;
    return {
      ...{ profile, accept, tls, maxLeaseMs, limits },
      gate: tls === undefined ? undefined : new TlsGate(tls),
      executors: new ExecutorPool(begin, this.#options.keepsSpare ?? false),
    };
  }

  /**
   * Has sessions that begin from here on be under other terms. Those that are open keep theirs.
   *
   * @param keeper starts executors under the rules that go with the terms; it belongs to the agent
   */
  async renew(terms: AgentTerms, limits: SessionLimits, keeper: Keeper): Promise<void> {
    const before = this.#offer;
    this.#offer = this.#offerOf(terms, limits, async () => keeper);
    const gone = before.executors.close().finally(() => this.#retired.delete(gone));
    this.#retired.add(gone);
    await this.#prepare();
    if (this.#open.size === 0) this.#offer.executors.fill();
  }

  /** Ends every session that is open now, after the call that is under way. */
  endSessions(): void {
    for (const { executor } of this.#open.values()) executor.end();
  }

  /** How many sessions are open. */
  get sessions(): number {
    return this.#open.size;
  }

  /** On how many addresses connections are accepted. */
  get listening(): number {
    return this.#servers.size;
  }

  /** The process ids of the open sessions' executors. */
  get executorPids(): number[] {
    return [...this.#open.values()].map(({ executor }) => executor.pid);
  }

  /** The process id of the executor that is kept ready, if there is one. */
  get sparePid(): number | undefined {
    return this.#offer.executors.sparePid;
  }

  /**
   * Starts to accept connections at `address`. Should that end by itself, `failed` tells; sessions
   * go on.
   */
  async listen(address: string): Promise<Server> {
    await this.#prepare();
    const server = createServer((socket: Socket) => {
      this.#accept(socket).catch((error: Error) => {
        if (!this.#reported.has(error)) this.emit('fault', { peer: peerName(socket), error });
      });
    });
    server.listen(address);
    await once(server, 'listening');
    this.#servers.set(server, address);
    this.#offer.executors.fill();
    server.on('error', (error) => {
      this.#servers.delete(server);
      this.emit('failed', { address, error });
    });
    return server;
  }

  /** Without a process that starts executors there is nothing to accept connections for. */
  async #prepare(): Promise<void> {
    const offer = this.#offer;
    const { ended } = await offer.executors.start();
    if (this.#prepared === offer) return;
    this.#prepared = offer;
    void ended.then(() => {
      if (this.#closed || this.#offer !== offer) return;
      const error = failure('ERR_AGENT_KEEPER', { why: 'it ended' });
      for (const [server, address] of this.#servers) {
        this.#servers.delete(server);
        server.close();
        this.emit('failed', { address, error });
      }
    });
  }

  async #accept(socket: Socket): Promise<void> {
    const peer = peerName(socket);
    const { gate, tls, accept } = this.#offer;
    if (gate === undefined || (tls?.on === 'tcp' && socket.transport !== 'tcp')) {
      return this.serve(socket, peer, refusalOf(socket, accept));
    }
    let proven: Secured;
    this.#handshaking.add(socket);
    try {
      proven = await gate.handshake(socket, this.#options.helloTimeoutMs);
    } catch (cause) {
      socket.destroy();
      if (socket.bytesRead === 0 && !(cause as Error).message.includes('within')) {
        this.emit('silent', { peer });
        return;
      }
      const error = failure('ERR_PEER_REFUSED', { peer, why: (cause as Error).message }, cause);
      throw this.#refuse(peer, error);
    } finally {
      this.#handshaking.delete(socket);
    }
    const { stream, name, problem } = proven;
    return this.serve(
      stream,
      `${peer} as ${printable(name)}`,
      problem ?? subjectProblem(name, accept),
    );
  }

  /** Tells of a refusal, once. */
  #refuse<E extends Error>(peer: string, error: E): E {
    this.#reported.add(error);
    this.emit('refused', { peer, error });
    return error;
  }

  /**
   * Serves one connection, whoever accepted it: reads its handshake, starts its executor and
   * resolves when the session has ended, or once it is joined to the session it belongs to. A stream
   * without a descriptor, such as a TLS socket, is relayed to the executor.
   *
   * @param refusal why the peer must not connect, where that is so
   */
  async serve(stream: Duplex, peer: string, refusal?: string): Promise<void> {
    await this.#prepare();
    const { helloTimeoutMs, maxSessions } = this.#options;
    const deadline = AbortSignal.timeout(helloTimeoutMs);
    this.#handshaking.add(stream);
    // A stream may fail at any time; whoever is reading learns of it there.
    stream.on('error', () => {});
    let handshake: Hello | Join;
    let id = 0;
    try {
      if (refusal !== undefined) throw failure('ERR_PEER_REFUSED', { peer, why: refusal });
      // Those who have not introduced themselves yet take places, too; but that does
      // not keep anybody from their session.
      if (this.#handshaking.size > maxSessions) throw this.#full(peer);
      const frame = await readFrame(stream, MAX_HELLO_BYTES, deadline);
      id = frame.id;
      handshake = parseHandshake(frame);
      if (!('token' in handshake) && this.#open.size + this.#handshaking.size > maxSessions) {
        throw this.#full(peer);
      }
    } catch (cause) {
      if (isSilence(cause)) {
        stream.destroy();
        this.emit('silent', { peer });
        return;
      }
      const error = deadline.aborted
        ? failure('ERR_HANDSHAKE_TIMEOUT', { address: peer, timeoutMs: helloTimeoutMs }, cause)
        : (cause as Error);
      endWith(stream, messageFrame(FrameType.ERROR, id, errorBody(error)));
      throw this.#refuse(peer, error);
    } finally {
      this.#handshaking.delete(stream);
    }

    // A Unix socket cannot lose its peer without a sign of it.
    const silenceMs =
      (stream as Partial<Socket>).transport === 'unix' ? 0 : this.#options.silenceMs;
    const { fd, unread } = takeDescriptor(stream);
    let begun: OpenSession | undefined;
    try {
      if (unread.byteLength > 0) {
        throw failure('ERR_PROTOCOL_UNEXPECTED', {
          received: `${unread.byteLength} bytes after the handshake`,
          expected: 'silence until WELCOME',
        });
      }
      if (this.#closed) throw failure('ERR_PEER_REFUSED', { peer, why: 'the agent is closing' });
      if ('token' in handshake) this.#join(fd, id, handshake, peer, silenceMs);
      else begun = this.#begin(fd, id, handshake, peer, silenceMs);
    } catch (error) {
      native.send(fd, [messageFrame(FrameType.ERROR, id, errorBody(error))], 0);
      native.close(fd);
      throw this.#refuse(peer, error as Error);
    }
    if (begun === undefined) return;
    const { session, executor } = begun;
    try {
      const end = await executor.ended;
      this.emit('ended', { session, peer, ...end });
    } finally {
      this.#open.delete(session);
      // While there are others, they would see it among what they look at.
      if (this.#open.size === 0) this.#offer.executors.fill();
    }
  }

  #full(peer: string): Error {
    const { maxSessions } = this.#options;
    const why = `the maximum of ${maxSessions} sessions is reached`;
    return failure('ERR_PEER_REFUSED', { peer, why });
  }

  #begin(fd: number, id: number, hello: Hello, peer: string, silenceMs: number): OpenSession {
    const leaseMs = Math.min(hello.leaseMs ?? 0, this.#offer.maxLeaseMs);
    const token = randomBytes(TOKEN_BYTES);
    const executor = this.#offer.executors.take();
    try {
      sendNow(
        fd,
        messageFrame(FrameType.WELCOME, id, this.#welcome({ token, leaseMs, silenceMs })),
      );
    } catch (error) {
      executor.kill();
      throw error;
    }
    executor.attach(fd, leaseMs, silenceMs);
    const session = ++this.#sessions;
    const client = printable(hello.client).slice(0, 200);
    const begun = { session, token, leaseMs, executor };
    this.#open.set(session, begun);
    this.emit('session', { session, peer, client });
    executor.on('audit', (record, dropped) => {
      const call = record as ExecutorCall;
      this.emit('call', { session, peer, client, call, dropped });
    });
    executor.on('detached', (end) => this.emit('detached', { session, end, leaseMs }));
    return begun;
  }

  #join(fd: number, id: number, join: Join, peer: string, silenceMs: number): void {
    const joined = this.#find(join.token);
    if (joined === undefined) {
      const why = 'its token is not that of an open session, whose lease may have run out';
      throw failure('ERR_SESSION_UNKNOWN', { why });
    }
    const { session, token, leaseMs, executor } = joined;
    if (join.purpose === 'resume' && leaseMs === 0) {
      throw failure('ERR_SESSION_UNKNOWN', { why: 'the session has no lease' });
    }
    sendNow(fd, messageFrame(FrameType.WELCOME, id, this.#welcome({ token, leaseMs, silenceMs })));
    if (join.purpose === 'cancel') {
      executor.cancel(join.call ?? 0);
      native.close(fd);
      return;
    }
    if (join.purpose === 'resume') executor.attach(fd, leaseMs, silenceMs);
    else executor.attachEvents(fd);
    this.emit('joined', { session, peer, purpose: join.purpose });
  }

  /** Takes as long for any token, so that nobody learns how much of a guess was right. */
  #find(token: Uint8Array): OpenSession | undefined {
    if (token.byteLength !== TOKEN_BYTES) return undefined;
    let found: OpenSession | undefined;
    for (const open of this.#open.values()) if (timingSafeEqual(open.token, token)) found = open;
    return found;
  }

  #welcome(session: SessionTerms): Welcome {
    return {
      protocol: PROTOCOL_VERSION,
      agent: this.#options.name,
      kernel: kernelInfo(),
      limits: this.#offer.limits,
      profile: this.#offer.profile,
      session,
      sessions: { open: this.#open.size, most: this.#options.maxSessions },
      files: true,
    };
  }

  /** Stops accepting, and resolves when every session has ended by itself, or after `withinMs`. */
  async drain(withinMs: number): Promise<void> {
    this.#stopListening();
    const ended = Promise.all([...this.#open.values()].map(({ executor }) => executor.ended));
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise((resolve) => {
      timer = setTimeout(resolve, withinMs);
    });
    await Promise.race([ended, over]);
    clearTimeout(timer);
  }

  /** Stops accepting, ends every session and resolves when all of them are gone. */
  async close(): Promise<void> {
    this.#stopListening();
    this.endSessions();
    await Promise.all([
      this.#offer.executors.close(),
      ...this.#retired,
      ...[...this.#servers.keys()].map(
        (server) => new Promise<void>((resolve) => server.close(() => resolve())),
      ),
    ]);
  }

  #stopListening(): void {
    this.#closed = true;
    for (const stream of this.#handshaking) stream.destroy();
    for (const server of this.#servers.keys()) server.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Whether a handshake did not come because its connection ended without a byte. */
function isSilence(error: unknown): boolean {
  if (!(error instanceof WaepError) || error.code !== 'ERR_FRAME_TRUNCATED') return false;
  return (error.detail as { received?: unknown }).received === 0;
}

function parseHandshake({ type, body }: Frame): Hello | Join {
  if (type === FrameType.HELLO) return parseHello(body);
  if (type === FrameType.JOIN) return parseJoin(body);
  throw failure('ERR_PROTOCOL_UNEXPECTED', {
    received: frameTypeName(type),
    expected: 'HELLO or JOIN',
  });
}

function peerName(socket: Socket): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined) return socket.transport;
  return remotePort === undefined ? remoteAddress : `${remoteAddress}:${remotePort}`;
}

/** Why a vsock peer must not connect, or `undefined`. */
function refusalOf(
  { remoteCid, remotePort }: Socket,
  { cids, source_ports }: Acceptance,
): string | undefined {
  if (remoteCid === undefined) return undefined;
  if (!cids.includes(remoteCid)) {
    return `rule accept.cids allows CID ${cids.join(' and ')} only`;
  }
  if ((remotePort ?? PRIVILEGED_PORTS) < PRIVILEGED_PORTS) return undefined;
  // No multiplexer is between the agent and the users of its own machine.
  if (remoteCid === LOOPBACK_CID || remoteCid === localCid()) {
    return `rule accept.source_ports allows ports below ${PRIVILEGED_PORTS} only to peers of the agent's own machine, whatever the policy says: there a client needs root`;
  }
  if (source_ports === 'any') return undefined;
  return `rule accept.source_ports allows ports below ${PRIVILEGED_PORTS} only, for which a client needs root on the host (over a multiplexer, which chooses the ports, the guest's owner has to accept any)`;
}

/** Why the client of a certificate that holds must not connect, or `undefined`. */
function subjectProblem(name: string, { subjects }: Acceptance): string | undefined {
  if (subjects.includes('*') || subjects.includes(name)) return undefined;
  return `rule accept.subjects allows ${subjects.join(' and ') || 'nobody'} only, and its certificate has ${name}`;
}

function takeDescriptor(stream: Duplex): { fd: number; unread: Uint8Array } {
  const taken = detach(stream);
  if (taken !== undefined) return taken;
  const pair = new Int32Array(2);
  const error = native.socketPair(pair);
  if (error < 0) throw systemError('socketpair', error);
  const [ours, theirs] = pair as unknown as [number, number];
  const relay = new NetSocket({ fd: ours, allowHalfOpen: false });
  const stop = () => {
    relay.destroy();
    stream.destroy();
  };
  relay.on('error', stop).on('close', stop);
  stream.on('error', stop).on('close', stop);
  stream.pipe(relay);
  relay.pipe(stream);
  return { fd: theirs, unread: new Uint8Array(0) };
}

/** Tells the peer why, and closes whether or not it listens. */
function endWith(stream: Duplex, frame: Uint8Array): void {
  const timer = setTimeout(() => stream.destroy(), 1000).unref();
  stream.once('close', () => clearTimeout(timer));
  if (stream.writable) stream.end(frame, () => stream.destroy());
  else stream.destroy();
}

/** Sends a small frame on a fresh connection, where it always fits. */
function sendNow(fd: number, frame: Uint8Array): void {
  const sent = native.send(fd, [frame], 0);
  if (sent < 0) throw systemError('send', sent);
  if (sent !== frame.byteLength) {
    throw new WaepError('ERR_FRAME_TRUNCATED', { received: sent, expected: frame.byteLength });
  }
}
