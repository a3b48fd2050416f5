/*
 * A process with devices whose connections are at work, which ends as it is told. Its arguments are
 * the ending and the devices' sockets; its parent says when the guests are there.
 */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Session } from '../../src/session.js';
import { connect, type Server, type Socket, VsockDevice } from '../../src/transport/index.js';
import { until } from '../until.js';

/** The ways for it to end. */
export type Ending =
  | 'process.exit()'
  | 'device.close()'
  | 'worker.terminate()'
  | 'process.exit() in a worker';

/** What the guest answers on, and what it pours into. */
export const ECHO_PORT = 7100;
export const HOST_PORT = 7200;
export const POURING = 8;
const CLOSED_PORT = 7101;
const ECHOES = 8;
const STALLED = 2;

/** What the process says to its parent, in this order. */
export type Message =
  | { readonly kind: 'listening' }
  | { readonly kind: 'live'; readonly sockets: number; readonly calls: number }
  /** How each socket ended. */
  | { readonly kind: 'closed'; readonly codes: readonly string[] };

/** Connections of every kind over one device, all of them at work. */
class Traffic {
  readonly device: VsockDevice;
  readonly sockets: Socket[] = [];
  readonly endings: Promise<string>[] = [];
  calls = 0;
  readonly #poured: Promise<void>;

  constructor(device: VsockDevice) {
    this.device = device;
    let connections = 0;
    this.#poured = new Promise((resolve) => {
      const server = device.listen(HOST_PORT, (socket) => {
        this.#add(socket);
        // Every other one is not read, so that the device holds what came.
        if (++connections % 2 === 0) socket.resume();
        if (connections === POURING) resolve();
      });
      this.#endsWithError(server);
    });
  }

  /** Resolves when all of it is under way. */
  async start(): Promise<void> {
    const { device } = this;
    await this.#poured;
    for (let i = 0; i < ECHOES + STALLED; i++) {
      const socket = await connect(device.address(ECHO_PORT));
      this.#add(socket);
      if (i < ECHOES) {
        socket.on('data', (chunk) => socket.write(chunk));
        socket.write('x'.repeat(1 + i * 1000));
      } else {
        for (let written = 0; written < 32; written++) socket.write(Buffer.alloc(65_536));
      }
    }
    const session = await Session.connect(device.address(1024), { handshakeTimeoutMs: 60_000 });
    const map = await session.createMap({ type: 2, keySize: 4, valueSize: 8, maxEntries: 1 });
    const loop = async (): Promise<never> => {
      for (;;) {
        await map.lookup(Buffer.alloc(4));
        this.calls++;
      }
    };
    for (let i = 0; i < 3; i++) this.endings.push(loop().catch(codeOf));
    await until('a call that is answered', () => this.calls > 0);
    // One that is still being made.
    this.endings.push(connect(device.address(CLOSED_PORT)).then(() => '', codeOf));
  }

  #add(socket: Socket): void {
    this.sockets.push(socket);
    this.#endsWithError(socket);
  }

  #endsWithError(one: Socket | Server): void {
    this.endings.push(
      new Promise((resolve) => one.on('error', (error: Error) => resolve(codeOf(error)))),
    );
  }
}

function codeOf(error: NodeJS.ErrnoException): string {
  return error.code ?? error.message;
}

async function work(
  sockets: readonly string[],
  tell: (message: Message) => void,
  told: () => Promise<unknown>,
): Promise<Traffic[]> {
  const devices = await Promise.all(sockets.map((socket) => VsockDevice.open({ socket })));
  const traffic = devices.map((device) => new Traffic(device));
  const go = told();
  tell({ kind: 'listening' });
  await go;
  await Promise.all(traffic.map((one) => one.start()));
  tell({
    kind: 'live',
    sockets: traffic.reduce((sum, one) => sum + one.sockets.length, 0),
    calls: traffic.reduce((sum, one) => sum + one.calls, 0),
  });
  return traffic;
}

async function inWorker({ ending, sockets }: { ending: Ending; sockets: string[] }) {
  const port = parentPort;
  if (port === null) return;
  await work(
    sockets,
    (message) => port.postMessage(message),
    () => once(port, 'message'),
  );
  if (ending === 'process.exit() in a worker') process.exit(0);
}

async function withWorker(ending: Ending, sockets: string[]): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { ending, sockets } });
  const gone = once(worker, 'exit');
  process.once('message', () => worker.postMessage('go'));
  await new Promise<void>((resolve) =>
    worker.on('message', (message: Message) => {
      process.send?.(message);
      if (message.kind === 'live') resolve();
    }),
  );
  if (ending === 'worker.terminate()') await worker.terminate();
  await gone;
  process.disconnect();
}

async function inProcess(ending: Ending, sockets: string[]): Promise<void> {
  const tell = (message: Message) => process.send?.(message);
  const traffic = await work(sockets, tell, () => once(process, 'message'));
  if (ending === 'process.exit()') process.exit(0);
  await Promise.all(traffic.map(({ device }) => device.close()));
  tell({ kind: 'closed', codes: await Promise.all(traffic.flatMap((one) => one.endings)) });
  process.disconnect();
}

if (!isMainThread) {
  await inWorker(workerData);
} else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , ending = '', ...sockets] = process.argv;
  await (ending.includes('worker') ? withWorker : inProcess)(ending as Ending, sockets);
}
