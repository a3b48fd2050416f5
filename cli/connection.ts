import type { Command } from 'commander';
import type { SessionOptions } from '../src/session/index.js';
import { Session } from '../src/session.js';
import { readTlsFiles, type TlsFileOptions } from '../src/tls-role.js';

/** What the options of {@link connectionOptions} become. */
export interface ConnectionOptions extends TlsFileOptions {
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
    .option(
      '--keys <folder>',
      'a folder of "waep keys": its ca.crt, client.crt and client.key replace the three options below',
    )
    .option('--tls-ca <file>', "the certificate of the authority that signed the agent's (PEM)")
    .option('--tls-cert <file>', "this client's certificate, for the agent (PEM)")
    .option('--tls-key <file>', 'the key of --tls-cert (PEM)');
}

/** Opens the session that a command's options describe. */
export function openSession(options: ConnectionOptions, more: SessionOptions): Promise<Session> {
  const tls = readTlsFiles(options, 'client');
  return Session.connect(options.vm, tls === undefined ? more : { ...more, tls });
}
