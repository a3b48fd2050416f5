/**
 * What charts call each arm, and its colour, in the order in which they show them. Most colours are
 * from the palette of Okabe and Ito, safe for colour-blind readers.
 */
const arms: Readonly<Record<string, readonly [name: string, colour: string]>> = {
  native: ['native', '#7a7a7a'],
  // What the tools experiment calls native.
  guest: ['native', '#7a7a7a'],
  unix: ['Unix socket', '#cc79a7'],
  tcp: ['TCP', '#e69f00'],
  'vsock-device': ['vsock in the process', '#009e73'],
  'vsock-kernel': ['vsock in the kernel', '#56b4e9'],
  'vsock-mux': ['vhost-device-vsock', '#0072b2'],
  'fixed-shape': ['fixed shape', '#882255'],
  'cbor-x': ['cbor-x', '#999933'],
};

const order = Object.keys(arms);
const transportOf = (arm: string) => arm.replace(/\/.*$/, '');

/** What is drawn pale: plain C, which is a limit and not ours. */
export function isPlainC(arm: string): boolean {
  return arm.endsWith('/c');
}

/** What charts call an arm. */
export function armName(arm: string): string {
  const [transport = '', kind] = arm.split('/');
  const name = arms[transport]?.[0] ?? transport;
  return kind === undefined ? name : `${name}, ${kind === 'c' ? 'plain C' : kind}`;
}

/** The colour of an arm; arms of one transport, such as its plain C limit, share one. */
export function colourOf(arm: string): string {
  return arms[transportOf(arm)]?.[1] ?? '#444444';
}

/** Things of arms, in the order of the arms, which is the same in all charts. */
export function inOrder<T extends { readonly arm: string }>(things: readonly T[]): T[] {
  const place = ({ arm }: T) => 2 * order.indexOf(transportOf(arm)) + Number(arm.includes('/'));
  return [...things].sort((a, b) => place(a) - place(b));
}
