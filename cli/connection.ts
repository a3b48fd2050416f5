import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { failure } from '../src/errors.js';
import type { SessionOptions } from '../src/session/index.js';
import { Session } from '../src/session.js';

/** What the options of {@link tlsOptions} become. */
export interface TlsOptions {
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
}

/** What the options of {@link connectionOptions} become. */
export interface ConnectionOptions extends TlsOptions {
  vm: string;
}

/** For sessions that answer a program's bpf(2) calls: the kernel itself never gives up waiting. */
export const unhurried: SessionOptions = { callTimeoutMs: Number.POSITIVE_INFINITY };

/** Adds the options by which a command reaches an agent. */
export function connectionOptions(command: Command): Command {
  return tlsOptions(
    command.requiredOption(
      '--vm <address>',
      'the address of the agent, such as vsock:3:1024 or tcp:127.0.0.1:1024',
    ),
  );
}

/** Adds the options by which a command and an agent prove to each other who they are. */
export function tlsOptions(command: Command): Command {
  return command
    .option('--tls-ca <file>', "the certificate of the authority that signed the agent's (PEM)")
    .option('--tls-cert <file>', "this client's certificate, for the agent (PEM)")
    .option('--tls-key <file>', 'the key of --tls-cert (PEM)');
}

/** Opens the session that a command's options describe. */
export function openSession(options: ConnectionOptions, more: SessionOptions): Promise<Session> {
  const { vm, tlsCa, tlsCert, tlsKey } = options;
  const files = [tlsCa, tlsCert, tlsKey].filter((file) => file !== undefined);
  if (files.length === 0) return Session.connect(vm, more);
  const [ca, cert, key] = files.map((file) => readFileSync(file));
  if (ca === undefined || cert === undefined || key === undefined) {
    throw failure('ERR_OPTION_INVALID', {
      option: '--tls-ca, --tls-cert and --tls-key',
      value: files.join(', '),
      expected: 'all three: both sides have to prove who they are',
    });
  }
  return Session.connect(vm, { ...more, tls: { ca, cert, key } });
}
