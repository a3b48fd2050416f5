import type { Duplex } from 'node:stream';
import { failure } from '../errors.js';
import { frameTypeName, HEADER_BYTES, parseHeader } from './header.js';

/** A frame that has arrived. */
export interface Frame {
  type: number;
  id: number;
  /** The body, which belongs to the receiver. */
  body: Uint8Array;
}

/** Assembles frames from chunks of bytes. The chunks may have any boundaries. */
export class FrameAssembler {
  readonly #maxFrameBytes: number;
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** How many bytes wait for the rest of their frame. */
  get pendingBytes(): number {
    return this.#bytes;
  }

  /** The length of the frame that has begun, as far as it is known. */
  get expectedBytes(): number {
    if (this.#bytes < HEADER_BYTES) return HEADER_BYTES;
    return HEADER_BYTES + parseHeader(this.#peek(HEADER_BYTES)).length;
  }

  add(chunk: Uint8Array): void {
    if (chunk.byteLength === 0) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
  }

  /**
   * Returns the next whole frame, if there is one.
   *
   * @throws ERR_FRAME_MALFORMED or ERR_FRAME_TOO_LARGE, after which no frame can be read
   */
  next(): Frame | undefined {
    if (this.#bytes < HEADER_BYTES) return undefined;
    const header = parseHeader(this.#peek(HEADER_BYTES));
    if (header.flags !== 0 || header.reserved !== 0) {
      const { flags, reserved } = header;
      const text = textOf(this.#peek(HEADER_BYTES));
      const found =
        text ?? `${frameTypeName(header.type)} has flags ${flags} and reserved ${reserved}`;
      throw failure('ERR_FRAME_MALFORMED', { why: `${found}; expected zeros` });
    }
    if (header.length > this.#maxFrameBytes) {
      throw failure('ERR_FRAME_TOO_LARGE', {
        length: header.length,
        maximum: this.#maxFrameBytes,
      });
    }
    const whole = HEADER_BYTES + header.length;
    if (this.#bytes < whole) return undefined;
    const { buffer, byteOffset } = this.#take(whole);
    // slice() of a Buffer does not copy, so the body is a plain array whatever the chunks were.
    const body = new Uint8Array(buffer, byteOffset + HEADER_BYTES, header.length);
    return { type: header.type, id: header.id, body };
  }

  /** Returns and forgets all bytes that wait. */
  rest(): Uint8Array {
    return this.#take(this.#bytes);
  }

  #peek(count: number): Uint8Array {
    const first = this.#chunks[0];
    if (first === undefined || first.byteLength < count) {
      // The chunks are joined only once: afterwards the first chunk is long enough.
      this.#chunks = [Buffer.concat(this.#chunks)];
    }
    return (this.#chunks[0] as Uint8Array).subarray(0, count);
  }

  #take(count: number): Uint8Array {
    const all =
      this.#chunks.length === 1 ? (this.#chunks[0] as Uint8Array) : Buffer.concat(this.#chunks);
    this.#chunks = count < all.byteLength ? [all.subarray(count)] : [];
    this.#bytes -= count;
    // slice() of a Buffer does not copy, so this is a plain array.
    return new Uint8Array(all.buffer, all.byteOffset, count);
  }
}

/** Returns the text of a header that is text. A server of another protocol has sent it. */
function textOf(header: Uint8Array): string | undefined {
  const text = Buffer.from(header).toString('latin1');
  return /^[\t\r\n -~]+$/.test(text) ? `its header is the text ${JSON.stringify(text)}` : undefined;
}

/**
 * Reads one frame from a stream. Leaves the stream paused, with the bytes after the frame put back.
 * Rejects with ERR_FRAME_TRUNCATED when the stream ends first, with the stream's own error, or with
 * the reason of `signal`.
 */
export async function readFrame(
  stream: Duplex,
  maxFrameBytes: number,
  signal: AbortSignal,
): Promise<Frame> {
  const assembler = new FrameAssembler(maxFrameBytes);
  return await new Promise<Frame>((resolve, reject) => {
    const stop = () => {
      stream.off('readable', onReadable);
      stream.off('end', onEnd);
      stream.off('close', onEnd);
      stream.off('error', onError);
      signal.removeEventListener('abort', onAbort);
    };
    const onError = (error: unknown) => {
      stop();
      reject(error);
    };
    const onAbort = () => onError(signal.reason);
    const onEnd = () =>
      onError(
        failure('ERR_FRAME_TRUNCATED', {
          received: assembler.pendingBytes,
          expected: assembler.expectedBytes,
        }),
      );
    const onReadable = () => {
      try {
        for (;;) {
          // Reads exactly the missing bytes. The bytes after the frame stay in the stream, in
          // order.
          const want = assembler.expectedBytes - assembler.pendingBytes;
          const have = stream.readableLength;
          if (have === 0) {
            stream.read(0);
            return;
          }
          const chunk = stream.read(Math.min(want, have)) as Uint8Array | null;
          if (chunk === null) return;
          assembler.add(chunk);
          const frame = assembler.next();
          if (frame !== undefined) {
            stop();
            resolve(frame);
            return;
          }
        }
      } catch (error) {
        onError(error);
      }
    };
    stream.on('readable', onReadable);
    stream.on('end', onEnd);
    stream.on('close', onEnd);
    stream.on('error', onError);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    else onReadable();
  });
}
