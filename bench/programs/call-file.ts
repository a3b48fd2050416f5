import type { Call, CallBuffer } from '../../src/call.js';

/** A call with the name that its samples get. */
export interface NamedCall {
  /** At most 32 ASCII characters, no spaces. */
  name: string;
  call: Call;
}

/**
 * Writes calls the way that bench/c/native.c reads them; its header comment describes the format.
 */
export function encodeCallFile(calls: readonly NamedCall[]): Buffer {
  return Buffer.concat([
    Buffer.from('WAEPCALL'),
    words(calls.length),
    ...calls.flatMap(({ name, call }) => [
      Buffer.from(name.padEnd(32, '\0')),
      words(call.command, call.result, call.buffers.length, call.relocations.length / 4),
      ...call.buffers.flatMap(encodeBuffer),
      words(...call.relocations),
    ]),
  ]);
}

function encodeBuffer(buffer: CallBuffer): Uint8Array[] {
  if (typeof buffer === 'number') return [words(1, buffer)];
  if (buffer instanceof Uint8Array) return [words(0, buffer.length), buffer];
  return [words(2, buffer.inout.length), buffer.inout];
}

function words(...numbers: number[]): Buffer {
  const bytes = Buffer.alloc(4 * numbers.length);
  numbers.forEach((number, index) => {
    bytes.writeUInt32LE(number, 4 * index);
  });
  return bytes;
}
