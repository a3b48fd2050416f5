import { isIPv6 } from 'node:net';
import { failure } from '../errors.js';
import { nearest } from '../nearest.js';

/** Well-known context identifiers of AF_VSOCK (linux/vm_sockets.h). */
export const Cid = {
  /** The hypervisor itself; reserved, nothing listens there today. */
  HYPERVISOR: 0,
  /** This kernel, whichever it is, where the vsock_loopback module is present. */
  LOCAL: 1,
  /** The host as a guest sees it. */
  HOST: 2,
  /** For binding only: every context identifier of this machine. */
  ANY: 0xffffffff,
} as const;

/** For binding only: lets the kernel choose a port (VMADDR_PORT_ANY). */
export const PORT_ANY = 0xffffffff;

/** A port of a machine that the kernel's own AF_VSOCK reaches. */
export interface VsockAddress {
  readonly transport: 'vsock';
  /** The context identifier: 3 and above for a virtual machine, else one of {@link Cid}. */
  readonly cid: number;
  /** The port, or {@link PORT_ANY}. */
  readonly port: number;
}

/**
 * A port of the one virtual machine behind a "hybrid" Unix-socket multiplexer, as Firecracker,
 * Cloud Hypervisor and vhost-device-vsock offer it. Listening on it takes connections that the
 * guest makes to that port of the host.
 */
export interface MuxAddress {
  readonly transport: 'vsock-mux';
  /** The multiplexer's socket, absolute. */
  readonly path: string;
  /** The port of the guest, or for a server the port of the host. */
  readonly port: number;
}

/**
 * A port of the virtual machine whose device a process of this machine serves. The thread that
 * opened the device connects directly. Every other thread and process connects through the
 * multiplexer at `path`, as for {@link MuxAddress}.
 */
export interface DeviceAddress {
  readonly transport: 'vsock-device';
  /** The name that the device got when it was opened, an absolute path. */
  readonly path: string;
  /** The port of the guest, or for a server the port of the host. */
  readonly port: number;
}

/** A port of a machine that TCP reaches. */
export interface TcpAddress {
  readonly transport: 'tcp';
  /** A host name or an IP address; IPv6 without its brackets. */
  readonly host: string;
  /** 0, for listening only, lets the kernel choose. */
  readonly port: number;
}

/** A Unix socket of this machine. */
export interface UnixAddress {
  readonly transport: 'unix';
  /** Absolute, at most 107 bytes. */
  readonly path: string;
}

/**
 * Every kind of address, by the name of its transport. A new transport adds its own by declaration
 * merging.
 */
export interface AddressTypes {
  /** `vsock:CID:PORT`. */
  vsock: VsockAddress;
  /** `vsock-mux:/path:PORT`. */
  'vsock-mux': MuxAddress;
  /** `vsock-device:/path:PORT`. */
  'vsock-device': DeviceAddress;
  /** `tcp:HOST:PORT`. */
  tcp: TcpAddress;
  /** `unix:/path`. */
  unix: UnixAddress;
}

/** Where a socket can be connected to or a server can listen; `transport` tells the kinds apart. */
export type Address = AddressTypes[keyof AddressTypes];

/** The name of a transport, such as `'vsock'`. */
export type TransportName = keyof AddressTypes;

/** How the addresses of one transport are written. */
export interface Notation<A extends Address = Address> {
  /** What stands before the first colon; the first is the canonical one. */
  readonly schemes: readonly string[];
  /**
   * Reads what follows the colon, without a leading `//`; calls `refuse` with the reason and the
   * cure.
   */
  parse(rest: string, refuse: (why: string) => never): A;
  /** What follows the colon in the canonical form. */
  format(address: A): string;
  /** The form for people, such as `vm(3):1024`. */
  describe(address: A): string;
}

const LARGEST_U32 = 0xffffffff;
// sizeof(sockaddr_un.sun_path) less the terminating zero.
const LONGEST_PATH_BYTES = 107;

const cidNames: Readonly<Record<string, number>> = {
  any: Cid.ANY,
  '-1': Cid.ANY,
  host: Cid.HOST,
  local: Cid.LOCAL,
};

const cidRoles = new Map<number, string>([
  [Cid.HYPERVISOR, 'hypervisor'],
  [Cid.LOCAL, 'local'],
  [Cid.HOST, 'host'],
]);

/** A context identifier with its meaning: `vm(3)`, `host(2)`, `local(1)`, `any`. */
export function describeCid(cid: number): string {
  return cid === Cid.ANY ? 'any' : `${cidRoles.get(cid) ?? 'vm'}(${cid})`;
}

function decimal(text: string, maximum: number): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= maximum ? value : undefined;
}

function checkPath(path: string, refuse: (why: string) => never): string {
  if (!path.startsWith('/')) return refuse('the path is not absolute; begin it with "/"');
  if (path.includes('\0')) return refuse('the path contains a zero byte');
  const sizeBytes = Buffer.byteLength(path);
  if (sizeBytes > LONGEST_PATH_BYTES) {
    return refuse(
      `the path has ${sizeBytes} bytes where a Unix socket allows ${LONGEST_PATH_BYTES}; use a shorter folder`,
    );
  }
  return path;
}

function vsockPort(text: string, refuse: (why: string) => never): number {
  if (text === 'any' || text === '-1') return PORT_ANY;
  const port = decimal(text, LARGEST_U32);
  if (port === undefined) {
    return refuse(`port ${JSON.stringify(text)} is not "any" or a number from 1 to ${LARGEST_U32}`);
  }
  if (port === 0)
    return refuse('port 0 is no wildcard on vsock; write "any" to have a port chosen');
  return port;
}

function printPort(port: number): string {
  return port === PORT_ANY ? 'any' : String(port);
}

/** Splits at the last colon. */
function splitPort(rest: string, refuse: (why: string) => never): [string, string] {
  const colon = rest.lastIndexOf(':');
  if (colon < 0) return refuse('the port is missing; append ":PORT"');
  return [rest.slice(0, colon), rest.slice(colon + 1)];
}

export const vsockNotation: Notation<VsockAddress> = {
  schemes: ['vsock'],
  parse(rest, refuse) {
    const parts = rest.split(':');
    const [cidText = '', portText = ''] = parts;
    if (parts.length !== 2) {
      return refuse(`it has ${parts.length - 1} colons after the scheme where CID:PORT has one`);
    }
    const cid = Object.hasOwn(cidNames, cidText)
      ? cidNames[cidText]
      : decimal(cidText, LARGEST_U32);
    if (cid === undefined) {
      return refuse(
        `CID ${JSON.stringify(cidText)} is not host, local, any, -1 or a number from 0 to ${LARGEST_U32}`,
      );
    }
    return { transport: 'vsock', cid, port: vsockPort(portText, refuse) };
  },
  format: ({ cid, port }) => `${cid === Cid.ANY ? 'any' : cid}:${printPort(port)}`,
  describe: ({ cid, port }) => `${describeCid(cid)}:${printPort(port)}`,
};

/** A port of the machine that is known by a path. */
function pathNotation<R extends 'vsock-mux' | 'vsock-device'>(
  transport: R,
  schemes: readonly string[],
): Notation<AddressTypes[R]> {
  return {
    schemes,
    parse(rest, refuse) {
      const [path, portText] = splitPort(rest, refuse);
      const port = vsockPort(portText, refuse);
      if (port === PORT_ANY) return refuse(`${transport} cannot choose a port; write a number`);
      return { transport, path: checkPath(path, refuse), port } as AddressTypes[R];
    },
    format: ({ path, port }) => `${path}:${port}`,
    describe: ({ path, port }) => `vm(${path}):${port}`,
  };
}

export const muxNotation = pathNotation('vsock-mux', ['vsock-mux', 'hvsock']);
export const deviceNotation = pathNotation('vsock-device', ['vsock-device']);

export const tcpNotation: Notation<TcpAddress> = {
  schemes: ['tcp'],
  parse(rest, refuse) {
    const [hostText, portText] = splitPort(rest, refuse);
    const port = decimal(portText, 65535);
    if (port === undefined) {
      return refuse(`port ${JSON.stringify(portText)} is not a number from 0 to 65535`);
    }
    const bracketed = /^\[(.*)\]$/.exec(hostText)?.[1];
    const host = bracketed ?? hostText;
    if (bracketed !== undefined && !isIPv6(bracketed)) {
      return refuse(`${JSON.stringify(bracketed)} in brackets is not an IPv6 address`);
    }
    if (bracketed === undefined && host.includes(':')) {
      return refuse(`an IPv6 address needs brackets; write tcp:[${host}]:${port}`);
    }
    if (host === '')
      return refuse('the host is missing; write a name or an address before the port');
    if (/[\s/?#@[\]\0]/.test(host)) {
      return refuse(`host ${JSON.stringify(host)} contains a character that no host name has`);
    }
    return { transport: 'tcp', host, port };
  },
  format: ({ host = '', port }) => `${isIPv6(host) ? `[${host}]` : host}:${port}`,
  describe: (address) => tcpNotation.format(address),
};

export const unixNotation: Notation<UnixAddress> = {
  schemes: ['unix'],
  parse: (rest, refuse) => ({ transport: 'unix', path: checkPath(rest, refuse) }),
  format: ({ path }) => `${path}`,
  describe: ({ path }) => path,
};

const notations = new Map<string, Notation>();
const schemes = new Map<string, Notation>();

/** Makes addresses of `transport` known to {@link parseAddress} and its siblings. */
export function registerNotation(transport: TransportName, notation: Notation): void {
  notations.set(transport, notation);
  for (const scheme of notation.schemes) schemes.set(scheme, notation);
}

for (const notation of [vsockNotation, muxNotation, deviceNotation, tcpNotation, unixNotation]) {
  const [name = ''] = notation.schemes;
  registerNotation(name as TransportName, notation as unknown as Notation);
}

const known = (): string => [...notations.keys()].join(', ');

function notationOf(address: Address): Notation {
  const notation = notations.get(address?.transport);
  if (notation !== undefined) return notation;
  const isObject = typeof address === 'object' && address !== null;
  throw failure('ERR_ADDRESS_INVALID', {
    value: address,
    why: isObject
      ? `its transport, ${JSON.stringify(address.transport)}, is not one of ${known()}`
      : 'it is neither text nor an object with a transport',
  });
}

/**
 * Reads an address: `vsock:CID:PORT` (also `vsock://CID:PORT`; a CID may be `host`, `local`, `any`
 * or `-1`), `vsock-mux:/path:PORT` (also `hvsock:///path:PORT`), `vsock-device:/path:PORT`,
 * `tcp:HOST:PORT` (IPv6 in brackets) or `unix:/path`.
 *
 * @throws ERR_ADDRESS_INVALID with the reason and the cure
 */
export function parseAddress(text: string): Address {
  const refuse = (why: string): never => {
    throw failure('ERR_ADDRESS_INVALID', { value: text, why });
  };
  if (typeof text !== 'string') return refuse('it is not text');
  if (text === '') return refuse('it is empty');
  const colon = text.indexOf(':');
  if (colon < 0) return refuse('it has no scheme; put one, such as "vsock:", in front');
  const scheme = text.slice(0, colon);
  const notation = schemes.get(scheme);
  if (notation === undefined) {
    const meant = nearest(scheme, [...schemes.keys()]);
    const guess = meant === undefined ? '' : ` (did you mean ${meant}?)`;
    return refuse(`scheme ${JSON.stringify(scheme)} is not one of ${known()}${guess}`);
  }
  return notation.parse(text.slice(colon + 1).replace(/^\/\//, ''), refuse);
}

/** Prints an address in its canonical form, which {@link parseAddress} reads back unchanged. */
export function formatAddress(address: Address): string {
  const notation = notationOf(address);
  const rest = notation.format(address);
  // Two slashes in front would be taken for those of a URL.
  return `${notation.schemes[0]}:${rest.startsWith('//') ? '//' : ''}${rest}`;
}

/** Prints an address for people: `vm(3):1024`, `host(2):1024`, `127.0.0.1:80`, `/run/a.sock`. */
export function describeAddress(address: Address): string {
  return notationOf(address).describe(address);
}

/**
 * Takes an address as text or as an object and returns it checked.
 *
 * @throws ERR_ADDRESS_INVALID with the reason and the cure
 */
export function toAddress(address: string | Address): Address {
  return parseAddress(typeof address === 'string' ? address : formatAddress(address));
}
