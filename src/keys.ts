/* Keys and certificates for mutual TLS between an agent and its clients. */
import 'reflect-metadata';
import { createPublicKey, randomUUID, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
  X509Crl,
  X509CrlGenerator,
  X509CrlReason,
} from '@peculiar/x509';
import { failure } from './errors.js';
import { type TlsRole, usages } from './tls-role.js';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** What a certificate's common name may have (ub-common-name in RFC 5280). */
const NAME = /^[A-Za-z0-9][\w.-]{0,63}$/;
const DAY_MS = 24 * 3600 * 1000;
/** A guest's clock may be behind that of the machine on which its certificate was made. */
const CLOCK_SKEW_MS = DAY_MS;

/** A certificate with its private key, both PEM. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

/** An authority that signs the certificates of agents and of clients. */
export class Authority implements Identity {
  readonly cert: string;
  readonly key: string;
  readonly #certificate: X509Certificate;
  readonly #signingKey: webcrypto.CryptoKey;

  private constructor(identity: Identity, signingKey: webcrypto.CryptoKey) {
    this.cert = identity.cert;
    this.key = identity.key;
    this.#certificate = new X509Certificate(identity.cert);
    this.#signingKey = signingKey;
  }

  /**
   * Makes an authority with a new key. Its certificate is valid from yesterday for `days`.
   *
   * @throws ERR_OPTION_INVALID for a name that is not 1 to 64 letters, digits, `.`, `_` and `-`
   */
  static async create(name: string, days: number): Promise<Authority> {
    checkName(name);
    const keys = await generateKeys();
    const certificate = await X509CertificateGenerator.createSelfSigned({
      ...described(name, days),
      keys,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        // Authorities of the same name are told apart by their keys.
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new Authority(await identity(certificate, keys), keys.privateKey);
  }

  /**
   * Takes up an authority again that {@link create} has made.
   *
   * @throws ERR_OPTION_INVALID when the key is not that of the certificate
   */
  static async load({ cert, key }: Identity): Promise<Authority> {
    const [pkcs8 = new ArrayBuffer(0)] = PemConverter.decode(key);
    const signingKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, ALGORITHM, false, ['sign']);
    const ofKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
    const authority = new Authority({ cert, key }, signingKey);
    if (!ofKey.equals(new Uint8Array(authority.#certificate.publicKey.rawData))) {
      const { subject } = authority.#certificate;
      const expected = 'the key that belongs to the certificate';
      throw failure('ERR_OPTION_INVALID', { option: 'key', value: subject, expected });
    }
    return authority;
  }

  /**
   * Signs a certificate for a new key, which can be used in one role only. It is valid from
   * yesterday for `days`, and no longer than the authority's own.
   *
   * @throws ERR_OPTION_INVALID for a name that is not 1 to 64 letters, digits, `.`, `_` and `-`
   */
  async issue(role: TlsRole, name: string, days: number): Promise<Identity> {
    checkName(name);
    const keys = await generateKeys();
    const { notAfter, ...rest } = described(name, days);
    const last = Math.min(notAfter.getTime(), this.#certificate.notAfter.getTime());
    const certificate = await X509CertificateGenerator.create({
      ...rest,
      notAfter: new Date(last),
      subject: rest.name,
      issuer: this.#certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#signingKey,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([usages[role]]),
        await AuthorityKeyIdentifierExtension.create(this.#certificate.publicKey),
        new SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
      ],
    });
    return identity(certificate, keys);
  }

  /**
   * Adds a certificate to those that are revoked, and returns the new list, PEM. The list is valid
   * for `days`, and whoever has it refuses every certificate after that.
   *
   * @param before the list so far, PEM
   * @throws ERR_OPTION_INVALID for a certificate of another authority, and for an authority that was
   *   made without the right to sign lists
   */
  async revoke(cert: string, days: number, before?: string): Promise<string> {
    const revoked = new X509Certificate(cert);
    const wrong = (expected: string) =>
      failure('ERR_OPTION_INVALID', { option: '--revoke', value: revoked.subject, expected });
    if (!(await revoked.verify({ publicKey: this.#certificate.publicKey, signatureOnly: true }))) {
      throw wrong('a certificate that this authority has signed');
    }
    const usage = this.#certificate.getExtension(KeyUsagesExtension)?.usages ?? 0;
    if ((usage & KeyUsageFlags.cRLSign) === 0) {
      throw wrong('an authority that may sign revocation lists; make a new one with "waep keys"');
    }
    const now = new Date();
    const entry = {
      serialNumber: revoked.serialNumber,
      revocationDate: now,
      reason: X509CrlReason.unspecified,
    };
    const earlier = before === undefined ? [] : new X509Crl(before).entries;
    const list = await X509CrlGenerator.create({
      issuer: this.#certificate.subject,
      thisUpdate: new Date(now.getTime() - CLOCK_SKEW_MS),
      nextUpdate: new Date(now.getTime() + days * DAY_MS),
      signingAlgorithm: ALGORITHM,
      signingKey: this.#signingKey,
      entries: [
        ...earlier
          .filter(({ serialNumber }) => serialNumber !== entry.serialNumber)
          .map(({ serialNumber, revocationDate }) => ({ ...entry, serialNumber, revocationDate })),
        entry,
      ],
      extensions: [await AuthorityKeyIdentifierExtension.create(this.#certificate.publicKey)],
    });
    return `${PemConverter.encode(list.rawData, 'X509 CRL')}\n`;
  }
}

function checkName(name: string): void {
  if (NAME.test(name)) return;
  throw failure('ERR_OPTION_INVALID', {
    option: 'name of a certificate',
    value: name,
    expected: '1 to 64 letters, digits, ".", "_" and "-", of which the first is a letter or digit',
  });
}

function described(name: string, days: number) {
  const now = Date.now();
  return {
    name: `CN=${name}`,
    // A positive number of at most 20 bytes (RFC 5280).
    serialNumber: `01${randomUUID().replaceAll('-', '')}`,
    notBefore: new Date(now - CLOCK_SKEW_MS),
    notAfter: new Date(now + days * DAY_MS),
    signingAlgorithm: ALGORITHM,
  };
}

function generateKeys() {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function identity(
  certificate: X509Certificate,
  { privateKey }: webcrypto.CryptoKeyPair,
): Promise<Identity> {
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', privateKey);
  return {
    cert: `${certificate.toString('pem')}\n`,
    key: `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
  };
}
