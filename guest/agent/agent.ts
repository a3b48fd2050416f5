import { randomBytes, timingSafeEqual } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { Socket as NetSocket } from 'node:net';
import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { FileOperation } from '../../src/call.js';
import { failure, systemError, WaepError } from '../../src/errors.js';
import {
  FrameType,
  frameTypeName,
  MAX_CHAIN_CALLS,
  PROTOCOL_VERSION,
} from '../../src/frame/header.js';
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

const { EAGAIN } = constants.errno;
/** The largest handshake frame. A handshake has a few dozen bytes. */
const MAX_HELLO_BYTES = 64 * 1024;
/** Ports below this one are for privileged processes only. */
const PRIVILEGED_PORTS = 1024;
/** How many connections may be proving their peers at a time. */
const MAX_PROVING = 64;
/** The part of a certificate's name that is shown. X.509 allows no longer ones (ub-common-name). */
const MAX_NAME_CHARACTERS = 64;
/** The CID by which processes of one machine reach each other (VMADDR_CID_LOCAL). */
const LOOPBACK_CID = 1;

/** Who may open sessions, and under which rules. An agent can get new terms while it runs. */
export interface AgentTerms {
  /** The name of the rules, told to clients. */
  profile: string;
  /** Peers that may connect. */
  accept: Acceptance;
  /**
   * The certificates with which every peer must prove who it is; with `on: 'tcp'` only peers over
   * TCP. The agent does not check the source port of a vsock peer that has a certificate.
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
   * How long a client may be silent, in milliseconds, before its connection counts as lost; 0 for
   * ever. On some transports, silence is the only sign of a cut link.
   */
  silenceMs: number;
  /**
   * The nice value of the threads that read events. Below 0 they get more of a busy processor than
   * programs do, if this process has the right to set it. Default 0.
   */
  eventNice?: number;
  /** Whether to keep an executor ready for the next session. Default: no. */
  keepsSpare?: boolean;
}

/** The terms and the executors for new sessions. */
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
  /** The terms that the session began with. */
  offer: Offer;
}

/** The other side of a connection, as the audit log names it. */
interface Peer {
  peer: string;
  /** Whether the peer has shown what the transport asks for, such as a valid certificate. */
  proven: boolean;
}

/** A peer, and whether it may connect under an offer. */
interface Judged extends Peer {
  /** Why the peer must not connect; undefined if it may. */
  refusal: string | undefined;
  offer: Offer;
}

/** Events of an agent's sessions. The audit log is made of them. */
export interface AgentEvents {
  session: [{ session: number; peer: string; client: string }];
  refused: [Peer & { error: Error }];
  /** A connection ended before its first byte. Health checks cause such connections. */
  silent: [Peer];
  /** An unexpected error while the agent served a connection. */
  fault: [{ peer: string; error: Error }];
  /** A session has lost its connection and is kept for the time of its lease. */
  detached: [{ session: number; end: number; leaseMs: number }];
  /** Another connection has joined a session. */
  joined: [{ session: number; peer: string; purpose: JoinPurpose }];
  ended: [{ session: number; peer: string } & ExecutorEnd];
  /** An address is not listened on any more. */
  failed: [{ address: string; error: Error }];
  /**
   * A rule refused a call, or a call made something that the audit log records. `dropped` such
   * events before this one were lost.
   */
  call: [{ session: number; peer: string; client: string; call: ExecutorCall; dropped: number }];
}

/**
 * The part of the agent that talks to clients. It accepts connections, checks the peers, and gives
 * each session an executor of its own. The calls themselves go from the client to the executor.
 */
export class Agent extends EventEmitter<AgentEvents> {
  readonly #options: AgentOptions;
  #offer: Offer;
  readonly #servers = new Map<Server, string>();
  readonly #open = new Map<number, OpenSession>();
  readonly #handshaking = new Set<Duplex>();
  /** Connections whose peers have not shown a certificate yet, the oldest first. */
  readonly #proving = new Set<Duplex>();
  #sessions = 0;
  /** The offer whose keeper is being watched: when the keeper ends, the agent fails. */
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
   * Sets the terms of new sessions. Open sessions keep their terms.
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

  /** Ends every open session after its current call. */
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
   * Starts to accept connections at `address`. If listening fails later, the event `failed` says
   * so, and sessions go on.
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

  /** Prepares the present offer's executors. When their keeper ends, every address fails. */
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
    const address = peerName(socket);
    const offer = this.#offer;
    const { gate, tls, accept } = offer;
    if (gate === undefined || (tls?.on === 'tcp' && socket.transport !== 'tcp')) {
      const refusal = cidProblem(socket, accept) ?? portProblem(socket, accept);
      return this.#serve(socket, { peer: address, proven: true, refusal, offer });
    }
    const unproven = { peer: address, proven: false };
    let secured: Secured;
    this.#makeRoomToProve();
    this.#proving.add(socket);
    try {
      secured = await gate.handshake(socket, this.#options.helloTimeoutMs);
    } catch (cause) {
      socket.destroy();
      if (socket.bytesRead === 0 && !(cause as Error).message.includes('within')) {
        this.emit('silent', unproven);
        return;
      }
      const why = (cause as Error).message;
      throw this.#refuse(unproven, failure('ERR_PEER_REFUSED', { peer: address, why }, cause));
    } finally {
      this.#proving.delete(socket);
    }
    const { stream, name, problem } = secured;
    const peer = `${address} as ${printable(name).slice(0, MAX_NAME_CHARACTERS)}`;
    const refusal = problem ?? cidProblem(socket, accept) ?? subjectProblem(name, accept);
    return this.#serve(stream, { peer, proven: problem === undefined, refusal, offer });
  }

  /**
   * Ends the connection that has been proving its peer for the longest time, if there are many. Who
   * has a certificate takes milliseconds for it.
   */
  #makeRoomToProve(): void {
    const [oldest] = this.#proving;
    if (this.#proving.size >= MAX_PROVING) oldest?.destroy();
  }

  /** Emits `refused`, once for each error. */
  #refuse<E extends Error>({ peer, proven }: Peer, error: E): E {
    this.#reported.add(error);
    this.emit('refused', { peer, proven, error });
    return error;
  }

  /**
   * Serves one connection, whoever accepted it: reads its handshake, starts its executor and
   * resolves when the session has ended, or once it is joined to the session it belongs to. A
   * stream without a descriptor, such as a TLS socket, is relayed to the executor.
   *
   */
  serve(stream: Duplex, peer: string): Promise<void> {
    return this.#serve(stream, { peer, proven: true, refusal: undefined, offer: this.#offer });
  }

  async #serve(stream: Duplex, { peer, proven, refusal, offer }: Judged): Promise<void> {
    await this.#prepare();
    const { helloTimeoutMs, maxSessions } = this.#options;
    const deadline = AbortSignal.timeout(helloTimeoutMs);
    this.#handshaking.add(stream);
    // A stream may fail at any time. The code that reads from it gets the error there.
    stream.on('error', () => {});
    let handshake: Hello | Join;
    let id = 0;
    try {
      if (refusal !== undefined) throw failure('ERR_PEER_REFUSED', { peer, why: refusal });
      // Open sessions do not count here, so that their clients can resume or join them at any time.
      if (this.#handshaking.size > maxSessions) throw this.#full(peer);
      const frame = await readFrame(stream, MAX_HELLO_BYTES, deadline);
      id = frame.id;
      handshake = parseHandshake(frame);
      if (offer !== this.#offer) {
        const why = 'the agent has read its configuration again meanwhile; connect once more';
        throw failure('ERR_PEER_REFUSED', { peer, why });
      }
      if (!('token' in handshake) && this.#open.size + this.#handshaking.size > maxSessions) {
        throw this.#full(peer);
      }
    } catch (cause) {
      if (isSilence(cause)) {
        stream.destroy();
        this.emit('silent', { peer, proven });
        return;
      }
      const error = deadline.aborted
        ? failure('ERR_HANDSHAKE_TIMEOUT', { address: peer, timeoutMs: helloTimeoutMs }, cause)
        : (cause as Error);
      endWith(stream, messageFrame(FrameType.ERROR, id, errorBody(error)));
      throw this.#refuse({ peer, proven }, error);
    } finally {
      this.#handshaking.delete(stream);
    }

    // A Unix socket cannot lose its peer without a sign of it.
    const silenceMs =
      (stream as Partial<Socket>).transport === 'unix' ? 0 : this.#options.silenceMs;
    const { fd, unread, ended } = takeDescriptor(stream);
    let begun: OpenSession | undefined;
    try {
      if (unread.byteLength > 0) {
        throw failure('ERR_PROTOCOL_UNEXPECTED', {
          received: `${unread.byteLength} bytes after the handshake`,
          expected: 'silence until WELCOME',
        });
      }
      // A peer may end what it sends after a JOIN, such as one that cancels a call.
      if (ended && !('token' in handshake)) {
        const why = 'the peer ended it before there was an answer, which may have taken too long';
        throw failure('ERR_PEER_REFUSED', { peer, why });
      }
      if (this.#closed) throw failure('ERR_PEER_REFUSED', { peer, why: 'the agent is closing' });
      if ('token' in handshake) this.#join(fd, id, handshake, peer, silenceMs);
      else begun = this.#begin(fd, id, handshake, peer, silenceMs);
    } catch (error) {
      native.send(fd, [messageFrame(FrameType.ERROR, id, errorBody(error))], 0);
      native.close(fd);
      throw this.#refuse({ peer, proven }, error as Error);
    }
    if (begun === undefined) return;
    const { session, executor } = begun;
    try {
      const end = await executor.ended;
      this.emit('ended', { session, peer, ...end });
    } finally {
      this.#open.delete(session);
      // Open sessions would see the start of a new executor in their traces.
      if (this.#open.size === 0) this.#offer.executors.fill();
    }
  }

  #full(peer: string): Error {
    const { maxSessions } = this.#options;
    const why = `the maximum of ${maxSessions} sessions is reached`;
    return failure('ERR_PEER_REFUSED', { peer, why });
  }

  #begin(fd: number, id: number, hello: Hello, peer: string, silenceMs: number): OpenSession {
    const offer = this.#offer;
    const leaseMs = Math.min(hello.leaseMs ?? 0, offer.maxLeaseMs);
    const token = randomBytes(TOKEN_BYTES);
    const executor = offer.executors.take();
    try {
      sendNow(
        fd,
        messageFrame(FrameType.WELCOME, id, this.#welcome(offer, { token, leaseMs, silenceMs })),
      );
    } catch (error) {
      executor.kill();
      throw error;
    }
    executor.attach(fd, leaseMs, silenceMs);
    const session = ++this.#sessions;
    const client = printable(hello.client).slice(0, 200);
    const begun = { session, token, leaseMs, executor, offer };
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
    const { session, token, leaseMs, executor, offer } = joined;
    if (join.purpose === 'resume' && leaseMs === 0) {
      throw failure('ERR_SESSION_UNKNOWN', { why: 'the session has no lease' });
    }
    const welcome = this.#welcome(offer, { token, leaseMs, silenceMs });
    sendNow(fd, messageFrame(FrameType.WELCOME, id, welcome));
    if (join.purpose === 'cancel') {
      executor.cancel(join.call ?? 0);
      native.close(fd);
      return;
    }
    if (join.purpose === 'resume') executor.attach(fd, leaseMs, silenceMs);
    else executor.attachEvents(fd);
    this.emit('joined', { session, peer, purpose: join.purpose });
  }

  /** Takes the same time for any token, so that nobody learns how much of a guess was right. */
  #find(token: Uint8Array): OpenSession | undefined {
    if (token.byteLength !== TOKEN_BYTES) return undefined;
    let found: OpenSession | undefined;
    for (const open of this.#open.values()) if (timingSafeEqual(open.token, token)) found = open;
    return found;
  }

  #welcome({ limits, profile }: Offer, session: SessionTerms): Welcome {
    return {
      protocol: PROTOCOL_VERSION,
      agent: this.#options.name,
      kernel: kernelInfo(),
      limits,
      profile,
      session,
      sessions: { open: this.#open.size, most: this.#options.maxSessions },
      files: true,
      fileOperations: Object.keys(FileOperation).length,
      chainCalls: MAX_CHAIN_CALLS,
      netlink: true,
    };
  }

  /** Stops accepting. Resolves when every session has ended by itself, or after `withinMs`. */
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

  /** Stops accepting and ends every session. Resolves when all of them are gone. */
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
    for (const stream of [...this.#handshaking, ...this.#proving]) stream.destroy();
    for (const server of this.#servers.keys()) server.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Returns whether a handshake failed because its connection ended without a byte. */
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

/** Returns why a vsock peer with this CID must not connect, or `undefined` if it may. */
function cidProblem({ remoteCid }: Socket, { cids }: Acceptance): string | undefined {
  if (remoteCid === undefined || cids.includes(remoteCid)) return undefined;
  return `rule accept.cids allows CID ${cids.join(' and ')} only`;
}

/** Returns why a vsock peer without a certificate must not connect, or `undefined` if it may. */
function portProblem(
  { remoteCid, remotePort }: Socket,
  { source_ports }: Acceptance,
): string | undefined {
  if (remoteCid === undefined) return undefined;
  if ((remotePort ?? PRIVILEGED_PORTS) < PRIVILEGED_PORTS) return undefined;
  // Users of this machine itself reach the agent without a multiplexer, so their port counts.
  if (remoteCid === LOOPBACK_CID || remoteCid === localCid()) {
    return `rule accept.source_ports allows ports below ${PRIVILEGED_PORTS} only to peers of the agent's own machine, whatever the policy says: there a client needs root`;
  }
  if (source_ports === 'any') return undefined;
  return `rule accept.source_ports allows ports below ${PRIVILEGED_PORTS} only, for which a client needs root on the host (over a multiplexer, which chooses the ports, the guest's owner has to accept any)`;
}

/** Returns why a client with a valid certificate must not connect, or `undefined` if it may. */
function subjectProblem(name: string, { subjects }: Acceptance): string | undefined {
  if (subjects.includes('*') || subjects.includes(name)) return undefined;
  return `rule accept.subjects allows ${subjects.join(' and ') || 'nobody'} only, and its certificate has ${name}`;
}

/** What a session needs of a stream after the handshake. */
interface Descriptor {
  fd: number;
  /** Bytes that came after the handshake. */
  unread: Uint8Array;
  /**
   * Whether the peer has ended the stream. While an agent is too slow, its clients give up; what it
   * then did for each of them would keep it slow.
   */
  ended: boolean;
}

function takeDescriptor(stream: Duplex): Descriptor {
  const taken = detach(stream);
  if (taken !== undefined) {
    const { fd, unread } = taken;
    if (unread.byteLength > 0) return { fd, unread, ended: false };
    const next = new Uint8Array(1);
    const received = native.recv(fd, next, 0, 1);
    return {
      fd,
      unread: next.subarray(0, Math.max(0, received)),
      ended: received === 0 || (received < 0 && received !== -EAGAIN),
    };
  }
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
  return { fd: theirs, unread: new Uint8Array(0), ended: stream.destroyed };
}

/** Sends the peer the reason and closes the connection, whether or not the peer reads it. */
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
