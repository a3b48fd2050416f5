import type { EncodedCall } from '../../src/bpf/index.js';
import { enums, type MapSpec, type MapSpecs } from '../../src/bpf/index.js';
import type { Reply } from '../../src/call.js';

/** MapSpecs of a hash map with 4-byte keys and 8-byte values, changed at will. */
export function mapSpec(changes: Partial<MapSpec> = {}): MapSpec {
  const type = enums.MapType.BPF_MAP_TYPE_HASH;
  return { type, keySize: 4, valueSize: 8, maxEntries: 16, flags: 0, ...changes };
}

/** MapSpecs in which every handle below 100 is `map`, in a guest with three CPUs. */
export function specs(map: MapSpec = mapSpec()): MapSpecs {
  return { mapSpec: (handle) => (handle < 100 ? map : undefined), possibleCpus: 3 };
}

/** The bytes of hexadecimal text, in which blanks are for the reader. */
export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));
}

/** Bytes as hexadecimal text. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/**
 * A reply to an encoded call: outputs as they were sent, changed by `change`.
 *
 * Like whoever executes a call, it returns the pointers of structures as all ones.
 */
export function replyTo(
  encoded: EncodedCall,
  change: (outputs: Uint8Array[]) => void,
  result = 0,
  errno = 0,
): Reply {
  const { buffers, relocations } = encoded.call;
  const all = buffers.map((buffer) => {
    if (typeof buffer === 'number') return new Uint8Array(buffer);
    return buffer instanceof Uint8Array ? undefined : buffer.inout.slice();
  });
  for (let at = 0; at < relocations.length; at += 4) {
    const [buffer = 0, offset = 0, kind] = relocations.slice(at);
    all[buffer]?.fill(0xff, offset, offset + (kind === 1 ? 4 : 8));
  }
  const outputs = all.filter((bytes) => bytes !== undefined);
  change(outputs);
  return { result, errno, outputs };
}

/** Writes little-endian 32-bit words from a byte offset on. */
export function putWords(bytes: Uint8Array | undefined, offset: number, ...words: number[]): void {
  if (bytes === undefined) throw new TypeError('there is no such output');
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  words.forEach((word, at) => {
    view.setUint32(offset + 4 * at, word >>> 0, true);
  });
}
