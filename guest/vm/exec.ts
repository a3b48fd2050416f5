import { PassThrough, type Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { failure } from '../../src/errors.js';
import type { OptionNames } from '../../src/known-options.js';
import { connect } from '../../src/transport/index.js';

/** The port of the guest's command daemon. guest/agent/exec/execd.c describes its messages. */
export const EXEC_PORT = 1023;

/** The address of a command daemon, and the key that it requires. */
export interface ExecDaemon {
  readonly address: string;
  readonly key: string;
}

const HEADER_BYTES = 5;
const LARGEST_INPUT_BYTES = 64 * 1024;

/** How a command ended: with a status, or by a signal, by its number. */
export type Ending = { status: number; signal: null } | { status: null; signal: number };

/** The result of a command. */
export type ExecResult = Ending & { stdout: string; stderr: string };

/** How to start a command in the guest. */
export interface SpawnOptions {
  /** Added to the daemon's own variables, PATH and HOME among them. */
  env?: Readonly<Record<string, string>>;
}

export const spawnNames: OptionNames<SpawnOptions> = { env: true };

/** How to run a command in the guest to its end. */
export interface ExecOptions extends SpawnOptions {
  /** Its standard input; empty by default. */
  input?: string | Uint8Array;
  /** The command and its children are killed after this time. Default 60 000. */
  timeoutMs?: number;
}

export const execNames: OptionNames<ExecOptions> = { input: true, timeoutMs: true, ...spawnNames };

/** A command that runs in the guest. Both outputs must be read, or it stalls. */
export interface GuestProcess {
  /** Its standard output. */
  readonly stdout: Readable;
  /** Its standard error. */
  readonly stderr: Readable;
  /** Rejects with ERR_GUEST_COMMAND when it could not be started or the connection was lost. */
  readonly ended: Promise<Ending>;
  /** Sends bytes to its standard input. */
  write(bytes: string | Uint8Array): void;
  /** Ends its standard input. */
  end(): void;
  /** Sends a signal, by number, to it and its children. */
  kill(signal?: number): void;
  /** Drops the connection; the daemon kills the command and its children. */
  destroy(): void;
}

/** Starts a command in the guest of a daemon. Its first word is the program. */
export async function spawn(
  { address, key }: ExecDaemon,
  command: readonly string[],
  options: SpawnOptions = {},
): Promise<GuestProcess> {
  const socket = await connect(address);
  const send = (type: string, bytes: string | Uint8Array = '') => {
    if (socket.writable) socket.write(message(type, bytes));
  };
  send('L', key);
  for (const word of command) send('A', word);
  for (const [name, value] of Object.entries(options.env ?? {})) send('V', `${name}=${value}`);
  send('R');

  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const ended = new Promise<Ending>((resolve, reject) => {
    const fail = (why: string) => {
      const detail = { command: command.join(' '), status: why, output: '' };
      reject(failure('ERR_GUEST_COMMAND', detail));
    };
    const endings: Record<string, (value: number) => void> = {
      X: (status) => resolve({ status, signal: null }),
      S: (signal) => resolve({ status: null, signal }),
      F: (errno) => fail(`errno ${errno} before it was started`),
    };
    const outputs: Record<string, PassThrough> = { O: stdout, E: stderr };
    const take = (type: string, body: Buffer) => {
      const output = outputs[type];
      if (output === undefined) {
        endings[type]?.(body.readUInt32LE());
        socket.destroy();
      } else if (!output.write(body)) {
        socket.pause();
      }
    };
    for (const output of [stdout, stderr]) {
      output.on('drain', () => {
        if (!stdout.writableNeedDrain && !stderr.writableNeedDrain) socket.resume();
      });
    }
    let pending: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      while (pending.length >= HEADER_BYTES) {
        const size = HEADER_BYTES + pending.readUInt32LE(1);
        if (pending.length < size) break;
        take(String.fromCharCode(pending[0] ?? 0), pending.subarray(HEADER_BYTES, size));
        pending = pending.subarray(size);
      }
    });
    let lost = 'a lost connection';
    socket.on('error', (error) => {
      lost = error.message;
    });
    socket.on('close', () => {
      stdout.end();
      stderr.end();
      fail(lost);
    });
  });
  // A caller that does not wait for the end must not fail by an unhandled rejection.
  ended.catch(() => {});

  return {
    stdout,
    stderr,
    ended,
    write(bytes) {
      const all = Buffer.from(bytes as string);
      for (let at = 0; at < all.length; at += LARGEST_INPUT_BYTES) {
        send('I', all.subarray(at, at + LARGEST_INPUT_BYTES));
      }
    },
    end: () => send('I'),
    kill(signal = 15) {
      const number = Buffer.alloc(4);
      number.writeUInt32LE(signal);
      send('K', number);
    },
    destroy: () => void socket.destroy(),
  };
}

/**
 * Runs a command in the guest to its end. A status other than 0 is a result, not an error.
 *
 * @throws ERR_GUEST_COMMAND when it cannot be started or does not end in time
 */
export async function exec(
  daemon: ExecDaemon,
  command: readonly string[],
  options: ExecOptions = {},
): Promise<ExecResult> {
  const { input, timeoutMs = 60_000 } = options;
  const child = await spawn(daemon, command, options);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.destroy();
  }, timeoutMs);
  try {
    if (input !== undefined) child.write(input);
    child.end();
    const [stdout, stderr, ending] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      child.ended.catch((error: Error) => error),
    ]);
    if (!(ending instanceof Error)) return { ...ending, stdout, stderr };
    if (!late) throw ending;
    throw failure('ERR_GUEST_COMMAND', {
      command: command.join(' '),
      status: `no end within ${timeoutMs} ms`,
      output: stderr || stdout,
    });
  } finally {
    clearTimeout(timer);
  }
}

function message(type: string, bytes: string | Uint8Array): Buffer {
  const body = Buffer.from(bytes as string);
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(type, 'latin1');
  header.writeUInt32LE(body.length, 1);
  return Buffer.concat([header, body]);
}
