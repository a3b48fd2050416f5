import assert from 'node:assert/strict';
import { describeAddress, formatAddress, parseAddress } from '../../../../src/transport/index.js';
import type { Random } from './random.js';
import { unlessRefused } from './refusal.js';

const schemes = ['vsock', 'vsock-mux', 'tcp', 'unix', 'VSOCK', 'http', ''] as const;
const wholes = ['vsock:3:1024', 'vsock-mux:/a:b:5', 'tcp:[::1]:80', 'unix:///a', 'tcp:h:0'];
const LETTERS = '0123456789:/[]-anyhostlcv.\0%é \n';

function text(random: Random): string {
  if (random.once(3)) {
    return Buffer.from(random.spoilt(Buffer.from(random.pick(wholes)))).toString('utf8');
  }
  const separator = random.pick([':', '://', ':/', '']);
  return (
    random.pick(schemes) + separator + random.text(random.below(random.pick([8, 200])), LETTERS)
  );
}

/** If an address is accepted, its text form parses to the same address. */
export function addresses(random: Random): boolean {
  const address = unlessRefused(['ERR_ADDRESS_INVALID'], () => parseAddress(text(random)));
  if (address === undefined) return false;
  assert.deepEqual(parseAddress(formatAddress(address)), address);
  assert.equal(typeof describeAddress(address), 'string');
  return true;
}
