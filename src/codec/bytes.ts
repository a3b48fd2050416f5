import type { Handle } from '../call.js';
import { type Codec, misfit } from './codec.js';

/** Bytes as they are. If the value is a whole answer, it is not copied. Other values are copied. */
export function bytes(sizeBytes: number): Codec<Uint8Array> {
  return {
    name: `bytes(${sizeBytes})`,
    sizeBytes,
    alignBytes: 1,
    read(view, offset) {
      const value = new Uint8Array(view.buffer, view.byteOffset + offset, sizeBytes);
      return view.byteLength === sizeBytes ? value : value.slice();
    },
    write(view, offset, value) {
      if (!(value instanceof Uint8Array) || value.byteLength !== sizeBytes) {
        throw misfit(value, `a Uint8Array of ${sizeBytes} bytes`);
      }
      new Uint8Array(view.buffer, view.byteOffset + offset, sizeBytes).set(value);
    },
  };
}

/**
 * Text in a `char` array of `sizeBytes` bytes, up to its NUL. A value has at most `sizeBytes` − 1
 * bytes of UTF-8.
 */
export function text(sizeBytes: number): Codec<string> {
  return {
    name: `text(${sizeBytes})`,
    sizeBytes,
    alignBytes: 1,
    read(view, offset) {
      const all = Buffer.from(view.buffer, view.byteOffset + offset, sizeBytes);
      const end = all.indexOf(0);
      return all.toString('utf8', 0, end < 0 ? sizeBytes : end);
    },
    write(view, offset, value) {
      const encoded = typeof value === 'string' ? Buffer.from(value) : undefined;
      if (encoded === undefined || encoded.length >= sizeBytes || encoded.includes(0)) {
        throw misfit(value, `text of at most ${sizeBytes - 1} bytes without NUL`);
      }
      new Uint8Array(view.buffer, view.byteOffset + offset, sizeBytes).set(encoded);
    },
  };
}

/**
 * An object in a map: a map in a map of maps, or a program in a PROG_ARRAY. It is written as the
 * object and read as the object's id, because the kernel returns the id.
 */
export const objectId: Codec<number, { readonly handle: Handle }> = {
  name: 'object',
  sizeBytes: 4,
  alignBytes: 4,
  read: (view, offset) => view.getUint32(offset, true),
  write(view, offset, value) {
    const handle = (value as { handle?: unknown } | null)?.handle;
    if (typeof handle !== 'number') throw misfit(value, 'an object of the session');
    view.setUint32(offset, handle, true);
  },
};
