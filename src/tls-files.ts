/* The files that have the certificates of one end of mutual TLS. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { failure } from './errors.js';
import { readGivenFile } from './given-file.js';
import type { TlsRole } from './tls-role.js';

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
