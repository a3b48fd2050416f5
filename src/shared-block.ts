/*
 * Small byte arrays share blocks of memory, as Node's own small Buffers do: a block costs one
 * allocation outside of the heap where each array would cost one.
 */
const BLOCK_BYTES = 64 * 1024;
const SMALL_BYTES = 4 * 1024;
let block = new ArrayBuffer(BLOCK_BYTES);
let used = 0;

/** So many zeroed bytes that are the caller's, aligned to 8. */
export function allocateBytes(length: number): Uint8Array {
  if (length > SMALL_BYTES) return new Uint8Array(length);
  if (used + length > BLOCK_BYTES) {
    block = new ArrayBuffer(BLOCK_BYTES);
    used = 0;
  }
  const bytes = new Uint8Array(block, used, length);
  used += (length + 7) & ~7;
  return bytes;
}
