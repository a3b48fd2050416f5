/* Calls by hand: an attribute by the offsets of its words. */
import { type Call, type Handle, Relocation, type Reply } from '../src/call.js';
import type { Session } from '../src/session.js';

/** The words of an attribute by their offsets: numbers, handles, pointers to bytes or to handles. */
export interface Words {
  readonly [offset: number]: number | Handled | Uint8Array | readonly Handled[];
}

interface Handled {
  readonly handle: Handle;
}

/** Makes a call with an attribute of so many bytes, whatever the table of commands has to say to it. */
export function raw(
  session: Session,
  command: number,
  bytes: number,
  words: Words,
): Promise<Reply> {
  const attribute = Buffer.alloc(bytes);
  const buffers: Uint8Array[] = [attribute];
  const relocations: number[] = [];
  for (const [offset, value] of Object.entries(words)) {
    const at = Number(offset);
    if (typeof value === 'number') attribute.writeUInt32LE(value, at);
    else if ('handle' in value) relocations.push(0, at, Relocation.FD32, value.handle);
    else {
      relocations.push(0, at, Relocation.POINTER, buffers.length);
      for (const [index, one] of value instanceof Uint8Array ? [] : value.entries()) {
        relocations.push(buffers.length, 4 * index, Relocation.FD32, one.handle);
      }
      buffers.push(value instanceof Uint8Array ? value : new Uint8Array(4 * value.length));
    }
  }
  const call: Call = { command, args: 1, result: 0, buffers, relocations };
  return session.call(call);
}
