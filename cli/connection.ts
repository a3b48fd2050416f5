import { type Command, Option } from 'commander';
import { duration } from '../src/quantity.js';
import { hello } from '../src/session/handshake.js';
import type { SessionOptions } from '../src/session/index.js';
import type { Session } from '../src/session.js';
import type { TlsFileOptions, TlsFiles } from '../src/tls-files.js';
import { advised } from './advice.js';

/** The values of the options of {@link connectionOptions}. */
export interface ConnectionOptions extends TlsFileOptions {
  vm: string;
  /** How long the session outlives the loss of its connection, in milliseconds. */
  lease?: number;
  /** How long connecting and the agent's answer may take, in milliseconds each. */
  connectTimeout?: number;
}

/** A cut connection can be made again within this time, and users do not wait longer. */
export const DEFAULT_LEASE_MS = 5_000;

/** An agent that is not overloaded answers within this time. */
const DEFAULT_CONNECT_TIMEOUT_MS = 5_000;

/** For sessions that answer a program's bpf(2) calls. The kernel never gives up a call either. */
export const unhurried: SessionOptions = { callTimeoutMs: Number.POSITIVE_INFINITY };

/** Adds the options with which a command reaches an agent. */
export function connectionOptions(command: Command): Command {
  return connectTimeoutOption(
    tlsOptions(
      command.requiredOption(
        '--vm <address>',
        'the address of the agent, such as vsock:3:1024 or tcp:127.0.0.1:1024',
      ),
    ),
  );
}

/** Adds the option for the time that the agent may take to answer. */
export function connectTimeoutOption(command: Command): Command {
  return command.addOption(
    new Option(
      '--connect-timeout <duration>',
      'how long connecting may take, and then the answer of the agent, such as 30s for a guest that is slow or busy',
    )
      .argParser(duration(1))
      .default(DEFAULT_CONNECT_TIMEOUT_MS, `${DEFAULT_CONNECT_TIMEOUT_MS / 1000}s`),
  );
}

/** Adds the options with which a command and an agent prove their identity to each other. */
export function tlsOptions(command: Command): Command {
  return command
    .option(
      '--keys <folder>',
      'a folder of "waep keys": its ca.crt, client.crt and client.key replace the three options below',
    )
    .option('--tls-ca <file>', "the certificate of the authority that signed the agent's (PEM)")
    .option('--tls-cert <file>', "this client's certificate, for the agent (PEM)")
    .option('--tls-key <file>', 'the key of --tls-cert (PEM)')
    .option(
      '--tls-crl <file>',
      'the certificates that the authority has revoked (PEM); by default crl.pem of --keys, where it has one',
    );
}

/** Adds the option for the time in which a lost connection may come back. */
export function leaseOption(command: Command): Command {
  return command.addOption(
    new Option(
      '--lease <duration>',
      'how long a lost connection may take to be made again, such as 30s: the guest keeps everything so long; 0 ends with the connection. The agent may grant less',
    )
      .argParser(duration(0))
      .default(DEFAULT_LEASE_MS, `${DEFAULT_LEASE_MS / 1000}s`),
  );
}

/**
 * Opens the session for a command's options.
 *
 * @param meanwhile called while the guest answers, for example to load code
 */
export async function openSession(
  options: ConnectionOptions,
  more: Omit<SessionOptions, 'tls'>,
  meanwhile: () => Promise<unknown> = async () => {},
): Promise<Session> {
  const tls = await readTls(options);
  const { lease: leaseMs = 0, connectTimeout: timeoutMs = DEFAULT_CONNECT_TIMEOUT_MS } = options;
  const bounds = { timeoutMs, handshakeTimeoutMs: timeoutMs };
  try {
    const { callTimeoutMs, maxQueuedBytes, ...how } = { leaseMs, ...bounds, ...more };
    const secure = tls && (await import('../src/session/start-tls.js')).securing(tls);
    let loaded: Promise<unknown> | undefined;
    const sent = () => {
      loaded = Promise.all([import('../src/session.js'), meanwhile()]);
    };
    const welcomed = await hello(options.vm, how, { secure, sent });
    await loaded;
    const { sessionOver } = await import('../src/session.js');
    return sessionOver(welcomed, more);
  } catch (error) {
    throw advised(error);
  }
}

/** Reads the files of certificates that options name. Loads the code for it only if there are some. */
async function readTls(options: TlsFileOptions): Promise<TlsFiles | undefined> {
  const { keys, tlsCa, tlsCert, tlsKey, tlsCrl } = options;
  const files = [keys, tlsCa, tlsCert, tlsKey, tlsCrl];
  if (files.every((file) => file === undefined)) return undefined;
  const { readTlsFiles } = await import('../src/tls-files.js');
  return readTlsFiles(options, 'client');
}
