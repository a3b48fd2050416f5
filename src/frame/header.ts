/** Bytes of the header before each frame's body. PROTOCOL.md draws it. */
export const HEADER_BYTES = 12;

/** The version of the protocol that this package speaks. */
export const PROTOCOL_VERSION = 1;

/** The size limit of a frame's body on both sides, in bytes, unless they agree on less. */
export const MAX_FRAME_BYTES = 64 * 1024 * 1024;

/** The most calls of a CHAIN. */
export const MAX_CHAIN_CALLS = 256;

/** The frame types. Requests of the client are 0x10 to 0x1f, and NETLINK. */
export const FrameType = {
  HELLO: 0x01,
  WELCOME: 0x02,
  ERROR: 0x03,
  JOIN: 0x04,
  CALL: 0x10,
  OPEN: 0x11,
  READ: 0x12,
  CLOSE: 0x13,
  PERF_OPEN: 0x14,
  IOCTL: 0x15,
  CLOCK: 0x16,
  RESTRICT: 0x17,
  SUBSCRIBE: 0x18,
  UNSUBSCRIBE: 0x19,
  CREDIT: 0x1a,
  WRITE: 0x1b,
  FILE: 0x1c,
  CHAIN: 0x1d,
  PING: 0x1e,
  END: 0x1f,
  RESULT: 0x20,
  EVENTS: 0x21,
  NETLINK: 0x22,
} as const;

/** The bits of a header's `flags`. All others are zero in version 1. */
export const FrameFlag = {
  /** On a request: its answer may be sent together with the answer of the next request. */
  ANSWER_MAY_WAIT: 0x01,
} as const;

/** Returns a frame type's name, or its number in hexadecimal. */
export function frameTypeName(type: number): string {
  for (const [name, value] of Object.entries(FrameType)) if (value === type) return name;
  return `frame type 0x${type.toString(16).padStart(2, '0')}`;
}

/** A frame's header. */
export interface FrameHeader {
  /** The size of the body in bytes. */
  length: number;
  type: number;
  /** {@link FrameFlag} bits. */
  flags: number;
  /** Zero in version 1. */
  reserved: number;
  /** The side that asks chooses the id. The side that answers repeats it. */
  id: number;
}

/** Writes a header at `offset` of `target`. */
export function putHeader(
  target: Uint8Array,
  offset: number,
  length: number,
  type: number,
  id: number,
  flags = 0,
): void {
  target[offset] = length;
  target[offset + 1] = length >>> 8;
  target[offset + 2] = length >>> 16;
  target[offset + 3] = length >>> 24;
  target[offset + 4] = type;
  target[offset + 5] = flags;
  target[offset + 6] = 0;
  target[offset + 7] = 0;
  target[offset + 8] = id;
  target[offset + 9] = id >>> 8;
  target[offset + 10] = id >>> 16;
  target[offset + 11] = id >>> 24;
}

/** Reads the header at `offset` of `bytes`. There must be {@link HEADER_BYTES} bytes. */
export function parseHeader(bytes: Uint8Array, offset = 0): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, HEADER_BYTES);
  return {
    length: view.getUint32(0, true),
    type: view.getUint8(4),
    flags: view.getUint8(5),
    reserved: view.getUint16(6, true),
    id: view.getUint32(8, true),
  };
}
