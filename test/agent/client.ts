import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  decodeBody,
  type Frame,
  FrameAssembler,
  FrameType,
  MAX_FRAME_BYTES,
  messageFrame,
  parseWelcome,
} from '../../src/frame/index.js';

/** A client that says what it likes. */
export class Client {
  readonly #socket: Socket;
  readonly #frames: Frame[] = [];
  readonly #assembler = new FrameAssembler(MAX_FRAME_BYTES);
  #wake: () => void = () => {};
  ended = false;
  /** The session's, once greeted. */
  token: Uint8Array = new Uint8Array(0);

  constructor(address: string) {
    // Newer versions of Node take in 64 KiB for a socket that is paused.
    const room = { highWaterMark: 1024 };
    this.#socket = address.startsWith('unix:')
      ? connect({ path: address.slice('unix:'.length), ...room })
      : connect({ port: Number(address.split(':')[2]), host: '127.0.0.1', ...room });
    this.#socket.on('data', (chunk) => {
      this.#assembler.add(chunk);
      for (
        let frame = this.#assembler.next();
        frame !== undefined;
        frame = this.#assembler.next()
      ) {
        this.#frames.push(frame);
      }
      this.#wake();
    });
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      this.ended = true;
      this.#wake();
    });
  }

  static async greeted(address: string, leaseMs = 0): Promise<Client> {
    const client = new Client(address);
    client.send(messageFrame(FrameType.HELLO, 0, { protocol: 1, client: 'hostile', leaseMs }));
    const frame = await client.frame();
    if (frame?.type !== FrameType.WELCOME) throw new Error('no WELCOME');
    client.token = parseWelcome(frame.body).session.token;
    return client;
  }

  /** Connects and asks to join a session. The answer is left to be read. */
  static joining(address: string, token: Uint8Array, purpose = 'resume', call = 0): Client {
    const client = new Client(address);
    client.send(messageFrame(FrameType.JOIN, 0, { protocol: 1, token, purpose, call }));
    return client;
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** The next frame, or undefined when the connection has ended. */
  async frame(): Promise<Frame | undefined> {
    while (this.#frames.length === 0 && !this.ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#frames.shift();
  }

  async error(): Promise<{ code: string; detail: Record<string, unknown> } | undefined> {
    const frame = await this.frame();
    if (frame === undefined) return undefined;
    if (frame.type !== FrameType.ERROR) return { code: `frame ${frame.type}`, detail: {} };
    const [code, detail] = decodeBody(frame.body) as [string, Record<string, unknown>];
    return { code, detail };
  }

  /** Receives nothing more. */
  pause(): void {
    this.#socket.pause();
  }

  end(): void {
    this.#socket.end();
  }

  async close(): Promise<void> {
    this.#socket.destroy();
    if (!this.ended) await once(this.#socket, 'close');
  }
}
