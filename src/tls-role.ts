/* The two ends of mutual TLS, and the files that have their certificates. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PeerCertificate } from 'node:tls';
import { failure } from './errors.js';

/** Which end of a connection a certificate is for. */
export type TlsRole = 'agent' | 'client';

/** The extended key usage of a certificate for each role: serverAuth and clientAuth of RFC 5280. */
export const usages: Readonly<Record<TlsRole, string>> = {
  agent: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
};

const usageNames: Readonly<Record<TlsRole, string>> = { agent: 'serverAuth', client: 'clientAuth' };

/**
 * Why a peer's certificate is none for its role, or undefined. A certificate that names no role is
 * refused: one authority signs for both, and what is for everything is for the other role, too.
 */
export function roleProblem({ ext_key_usage }: PeerCertificate, role: TlsRole): string | undefined {
  if (ext_key_usage?.includes(usages[role])) return undefined;
  const found = ext_key_usage?.map(
    (usage) => Object.entries(usages).find(([, oid]) => oid === usage)?.[0] ?? usage,
  );
  const is =
    found === undefined ? 'has no extended key usage' : `is one for ${found.join(' and ')} only`;
  return `its certificate ${is}; ${expected(role)}`;
}

/** The same for a certificate that OpenSSL has found to be for other roles, and Node does not show. */
export function otherRole(role: TlsRole): string {
  return `its certificate is one for another role; ${expected(role)}`;
}

function expected(role: TlsRole): string {
  return `that of ${role === 'agent' ? 'an agent' : 'a client'} has the extended key usage ${usageNames[role]}, as "waep keys" makes it`;
}

/** Options that name the files of one end. */
export interface TlsFileOptions {
  keys?: string;
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
}

/** An end's certificate and key, and the authority that has signed the other end's; each PEM. */
export interface TlsFiles {
  ca: Buffer;
  cert: Buffer;
  key: Buffer;
}

/**
 * Reads the files of one end: ca.crt, ROLE.crt and ROLE.key in the folder of `keys`, or those of the
 * three other options. Returns undefined when no option is given.
 *
 * @throws ERR_OPTION_INVALID when only some are given, and the system error of a file
 */
export function readTlsFiles(options: TlsFileOptions, role: TlsRole): TlsFiles | undefined {
  const { keys, tlsCa, tlsCert, tlsKey } = options;
  const named = [tlsCa, tlsCert, tlsKey];
  const given = named.filter((file) => file !== undefined);
  if (given.length === 0 && keys === undefined) return undefined;
  const files = keys === undefined ? named : ['ca.crt', `${role}.crt`, `${role}.key`];
  const [ca, cert, key] = files.map((file) =>
    file === undefined ? undefined : readFileSync(keys === undefined ? file : join(keys, file)),
  );
  const both = keys !== undefined && given.length > 0;
  if (!both && ca !== undefined && cert !== undefined && key !== undefined)
    return { ca, cert, key };
  throw failure('ERR_OPTION_INVALID', {
    option: '--keys, --tls-ca, --tls-cert and --tls-key',
    value: [...(keys === undefined ? [] : [keys]), ...given].join(', '),
    expected: '--keys alone, or all of the other three: both sides have to prove who they are',
  });
}
