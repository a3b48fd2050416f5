import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { failure } from '../src/errors.js';
import { readGivenFile } from '../src/given-file.js';
import type { Identity } from '../src/keys.js';
import { makeFolder } from '../src/paths.js';
import { CRL_FILE } from '../src/tls-files.js';
import type { TlsRole } from '../src/tls-role.js';
import { wholeNumber } from '../src/whole-number.js';

interface Options {
  agent?: string;
  client?: string;
  days: number;
  revoke?: string[];
}

/** `waep keys`: makes and revokes the certificates for mutual TLS. */
export function keysCommand(): Command {
  return new Command('keys')
    .summary('make keys and certificates for mutual TLS')
    .description(
      'Make an authority in a folder (ca.crt, ca.key), a certificate that it has signed for an agent (agent.crt, agent.key) and one for a client (client.crt, client.key). Neither can be used in the place of the other. In a folder that has an authority, sign further certificates. Give ca.crt, agent.crt and agent.key to the guest, and keep ca.key apart from both. Every file has mode 0600; a file that is there is not replaced.',
    )
    .argument('<folder>', 'where to put the files; it is made with mode 0700')
    .option('--agent <name>', 'make a certificate for an agent of this name: NAME.crt and NAME.key')
    .option('--client <name>', 'make a certificate for a client of this name')
    .option(
      '--revoke <name>',
      'add NAME.crt of the folder to the revocation list, crl.pem, and make no certificate; may be given several times',
      (name: string, others: string[] = []) => [...others, name],
    )
    .option(
      '--days <n>',
      'for how many days certificates, or the revocation list, are valid',
      wholeNumber(1, 36_500),
      365,
    )
    .action(make);
}

async function make(folder: string, { agent, client, days, revoke = [] }: Options): Promise<void> {
  if (revoke.length > 0) {
    if (agent === undefined && client === undefined) return revokeKeys(folder, days, revoke);
    throw failure('ERR_OPTION_INVALID', {
      option: '--revoke',
      value: revoke.join(', '),
      expected: 'no --agent and no --client beside it',
    });
  }
  for (const path of await makeKeys(folder, days, {
    ...(agent === undefined && client !== undefined ? {} : { agent: agent ?? 'agent' }),
    ...(client === undefined && agent !== undefined ? {} : { client: client ?? 'client' }),
  })) {
    console.log(path);
  }
}

/** Adds the certificates with these names to the revocation list of a folder. */
async function revokeKeys(folder: string, days: number, names: readonly string[]): Promise<void> {
  const { Authority } = await import('../src/keys.js');
  const authority = await Authority.load(authorityIn(folder));
  const path = join(folder, CRL_FILE);
  let list = existsSync(path) ? madeBefore(path) : undefined;
  const certificateOf = (name: string) => madeBefore(join(folder, `${name}.crt`), '--revoke');
  for (const name of names) list = await authority.revoke(certificateOf(name), days, list);
  // Agents may read the list at any time, so the new list replaces it at once.
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, list ?? '', { mode: 0o600, flag: 'wx' });
  renameSync(draft, path);
  console.log(path);
}

function authorityIn(folder: string): Identity {
  return { cert: madeBefore(join(folder, 'ca.crt')), key: madeBefore(join(folder, 'ca.key')) };
}

function madeBefore(path: string, option = '<folder>'): string {
  return readGivenFile(option, path, 'a file that "waep keys" has made').toString();
}

/**
 * Makes an authority in a folder, unless there is one, and certificates with these names.
 *
 * @returns the paths of the new files
 * @throws ERR_OPTION_INVALID for a name that is not allowed; ERR_FOLDER_UNUSABLE; EEXIST when a
 *   file exists
 */
export async function makeKeys(
  folder: string,
  days: number,
  names: { readonly [R in TlsRole]?: string },
): Promise<string[]> {
  makeFolder(folder, { mode: 0o700, cure: 'Choose another folder for the keys.' });
  // Other commands must not wait for this library.
  const { Authority } = await import('../src/keys.js');
  const path = (name: string) => join(folder, name);
  const made: string[] = [];
  const write = (name: string, { cert, key }: Identity) => {
    for (const [file, content] of [
      [`${name}.key`, key],
      [`${name}.crt`, cert],
    ] as const) {
      writeFileSync(path(file), content, { mode: 0o600, flag: 'wx' });
      made.push(path(file));
    }
  };
  const known = existsSync(path('ca.key'));
  const authority = known
    ? await Authority.load(authorityIn(folder))
    : await Authority.create('waep-ca', days);
  if (!known) write('ca', authority);
  for (const role of ['agent', 'client'] as const) {
    const name = names[role];
    if (name !== undefined) write(name, await authority.issue(role, name, days));
  }
  return made;
}
