import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/** A key and a certificate for it, both PEM. */
export interface TestIdentity {
  key: string;
  cert: string;
}

const Tag = {
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OID: 0x06,
  UTF8: 0x0c,
  UTC_TIME: 0x17,
  SEQUENCE: 0x30,
  SET: 0x31,
  VERSION: 0xa0,
  EXTENSIONS: 0xa3,
  DNS_NAME: 0x82,
} as const;

/** Encodes one DER value of at most 65 535 bytes. */
function der(tag: number, ...contents: Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const ecdsaWithSha256 = der(Tag.SEQUENCE, der(Tag.OID, Buffer.from('2a8648ce3d040302', 'hex')));

function commonName(name: string): Buffer {
  const type = der(Tag.OID, Buffer.from('550403', 'hex'));
  return der(Tag.SEQUENCE, der(Tag.SET, der(Tag.SEQUENCE, type, der(Tag.UTF8, Buffer.from(name)))));
}

function utcTime(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]/g, '').slice(2, 14);
  return der(Tag.UTC_TIME, Buffer.from(`${digits}Z`));
}

/**
 * Makes a self-signed certificate for `host`, valid from yesterday for ten days.
 *
 * Node cannot make one and a guest has no openssl, hence these lines of DER.
 */
export function makeIdentity(host: string): TestIdentity {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const dayMs = 24 * 3600 * 1000;
  const alternativeName = der(
    Tag.SEQUENCE,
    der(Tag.OID, Buffer.from('551d11', 'hex')),
    der(Tag.OCTET_STRING, der(Tag.SEQUENCE, der(Tag.DNS_NAME, Buffer.from(host)))),
  );
  const body = der(
    Tag.SEQUENCE,
    der(Tag.VERSION, der(Tag.INTEGER, Buffer.from([2]))),
    der(Tag.INTEGER, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ecdsaWithSha256,
    commonName(host),
    der(
      Tag.SEQUENCE,
      utcTime(new Date(Date.now() - dayMs)),
      utcTime(new Date(Date.now() + 9 * dayMs)),
    ),
    commonName(host),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(Tag.EXTENSIONS, der(Tag.SEQUENCE, alternativeName)),
  );
  const signature = der(Tag.BIT_STRING, Buffer.from([0]), sign('sha256', body, privateKey));
  const certificate = der(Tag.SEQUENCE, body, ecdsaWithSha256, signature).toString('base64');
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${certificate.replace(/(.{64})/g, '$1\n')}\n-----END CERTIFICATE-----\n`,
  };
}
