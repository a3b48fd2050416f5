/* The two ends of mutual TLS, and the files that have their certificates. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext, type PeerCertificate } from 'node:tls';
import { failure } from './errors.js';
import { readGivenFile } from './given-file.js';

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

/** Who looks at a certificate, in words. */
type Looker = 'the agent' | 'this client';
type Words = (looker: Looker, certificate: Partial<PeerCertificate>) => string;

const unknownAuthority: Words = (looker) =>
  `it was signed by an authority that ${looker} does not know, by its --tls-ca or the ca.crt of its --keys`;
const list = (looker: Looker) =>
  `the revocation list of ${looker} (--tls-crl, or crl.pem of --keys)`;
const clock = (looker: Looker) => `by the clock of ${looker}, ${new Date().toUTCString()}`;

/** OpenSSL's verdicts, as Node names them, in words. */
const verdicts: Readonly<Record<string, Words>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownAuthority,
  SELF_SIGNED_CERT_IN_CHAIN: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT: unknownAuthority,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownAuthority,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownAuthority,
  CERT_SIGNATURE_FAILURE: unknownAuthority,
  CERT_HAS_EXPIRED: (looker, { valid_to }) =>
    `it has expired${valid_to === undefined ? '' : ` on ${valid_to}`} ${clock(looker)}`,
  CERT_NOT_YET_VALID: (looker, { valid_from }) =>
    `it is not valid yet${valid_from === undefined ? '' : `, but from ${valid_from}`} ${clock(looker)}`,
  CERT_REVOKED: (looker) => `it has been revoked, by ${list(looker)}`,
  CRL_HAS_EXPIRED: (looker) => `${list(looker)} has expired, and a newer one is needed`,
  CRL_NOT_YET_VALID: (looker) => `${list(looker)} is not valid yet ${clock(looker)}`,
  UNABLE_TO_GET_CRL: (looker) => `${list(looker)} is that of another authority`,
  CRL_SIGNATURE_FAILURE: (looker) => `${list(looker)} is that of another authority`,
};

/** Why a peer's certificate does not hold, in words; `verdict` is Node's name for it. */
export function verdictText(
  verdict: string,
  looker: Looker,
  certificate: Partial<PeerCertificate> = {},
): string {
  return `its certificate does not hold: ${verdicts[verdict]?.(looker, certificate) ?? verdict}`;
}

/** Whether {@link verdictText} has words for an error of Node's. */
export function isVerdict(code: string | undefined): code is string {
  return code !== undefined && Object.hasOwn(verdicts, code);
}

/** Options that name the files of one end. */
export interface TlsFileOptions {
  keys?: string;
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
  tlsCrl?: string;
}

/** An end's certificate and key, and the authority that has signed the other end's; each PEM. */
export interface TlsFiles {
  ca: Buffer;
  cert: Buffer;
  key: Buffer;
  /** Which certificates the authority has revoked. */
  crl?: Buffer;
}

/** The revocation list in a folder of "waep keys". */
export const CRL_FILE = 'crl.pem';

const CERTIFICATE = 'a certificate in PEM (-----BEGIN CERTIFICATE-----)';
const KEY = 'a private key in PEM';
const REVOCATION_LIST = 'a certificate revocation list in PEM (-----BEGIN X509 CRL-----)';

/**
 * Reads the files of one end: ca.crt, ROLE.crt and ROLE.key in the folder of `keys`, with crl.pem
 * where there is one, or those of the other options. Returns undefined when no option is given.
 *
 * @throws ERR_OPTION_INVALID when only some are given, or when a file is not what it is to be: no
 *   PEM, a key of another certificate, a certificate that is not valid today; or when one cannot be
 *   read
 */
export function readTlsFiles(options: TlsFileOptions, role: TlsRole): TlsFiles | undefined {
  const { keys, tlsCa, tlsCert, tlsKey, tlsCrl } = options;
  const named = [tlsCa, tlsCert, tlsKey];
  const files = [...named, tlsCrl].filter((file) => file !== undefined);
  if (files.length === 0 && keys === undefined) return undefined;
  const [ca, cert, key] =
    keys === undefined
      ? named
      : ['ca.crt', `${role}.crt`, `${role}.key`].map((file) => join(keys, file));
  const both = keys !== undefined && files.some((file) => file !== tlsCrl);
  if (both || ca === undefined || cert === undefined || key === undefined) {
    throw failure('ERR_OPTION_INVALID', {
      option: '--keys, --tls-ca, --tls-cert and --tls-key',
      value: [...(keys === undefined ? [] : [keys]), ...files].join(', '),
      expected: '--keys alone, or all of the other three: both sides have to prove who they are',
    });
  }
  const kept = keys === undefined ? undefined : join(keys, CRL_FILE);
  const crl = tlsCrl ?? (kept !== undefined && existsSync(kept) ? kept : undefined);
  const read = (name: string, file: string, expected: string): GivenFile => {
    const option = keys === undefined || file === tlsCrl ? name : '--keys';
    return { bytes: readGivenFile(option, file, expected), from: `${option} (${file})` };
  };
  const given = {
    ca: read('--tls-ca', ca, CERTIFICATE),
    cert: read('--tls-cert', cert, CERTIFICATE),
    key: read('--tls-key', key, KEY),
    crl: crl === undefined ? undefined : read('--tls-crl', crl, REVOCATION_LIST),
  };
  checkCertificate(given.ca);
  checkCertificate(given.cert);
  let matches: boolean;
  try {
    matches = new X509Certificate(given.cert.bytes).checkPrivateKey(
      createPrivateKey(given.key.bytes),
    );
  } catch {
    throw unexpected(given.key, `${KEY}, without a password`);
  }
  if (!matches) throw unexpected(given.key, `the key that belongs to ${cert}`);
  if (given.crl !== undefined) {
    try {
      createSecureContext({ crl: given.crl.bytes });
    } catch {
      throw unexpected(given.crl, REVOCATION_LIST);
    }
  }
  return {
    ca: given.ca.bytes,
    cert: given.cert.bytes,
    key: given.key.bytes,
    ...(given.crl === undefined ? {} : { crl: given.crl.bytes }),
  };
}

interface GivenFile {
  readonly bytes: Buffer;
  /** The option, with the file's path. */
  readonly from: string;
}

function unexpected({ bytes, from }: GivenFile, expected: string): Error {
  const value = bytes.toString('latin1', 0, 60).split('\n')[0];
  return failure('ERR_OPTION_INVALID', { option: from, value, expected });
}

/** @throws ERR_OPTION_INVALID unless the file has a certificate that is valid today */
function checkCertificate(file: GivenFile): void {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(file.bytes);
  } catch {
    throw unexpected(file, CERTIFICATE);
  }
  const { validFrom, validTo } = certificate;
  const now = Date.now();
  if (now >= Date.parse(validFrom) && now <= Date.parse(validTo)) return;
  const today = new Date(now).toUTCString();
  throw failure('ERR_OPTION_INVALID', {
    option: file.from,
    value: `a certificate that is valid from ${validFrom} to ${validTo}`,
    expected: `one that is valid by the clock of this machine, ${today}`,
  });
}
