/* The two ends of mutual TLS, and what is wrong with a certificate, in words. */
import type { PeerCertificate } from 'node:tls';

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
