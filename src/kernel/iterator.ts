import { constants } from 'node:os';
import type { Handle } from '../call.js';
import { type Codec, viewOf } from '../codec/index.js';
import { failure, systemError } from '../errors.js';
import type { CallOptions } from '../session/caller.js';
import type { GuestKernel } from './guest-kernel.js';
import { GuestObject } from './guest-object.js';

const { EAGAIN } = constants.errno;
const CHUNK_BYTES = 256 * 1024;
/** How often in a row a run may pause before it is given up: after some 10¹⁰ elements. */
const MAX_PAUSES = 10_000;

/**
 * One run of an iterator program over what it iterates: tasks, maps, sockets. The program runs in
 * the guest as its output is read, by bpf_seq_read() in kernel/bpf/bpf_iter.c.
 *
 * @example
 * ```ts
 * await using tasks = await link.iterate();
 * console.log(await tasks.text());
 * ```
 */
export class KernelIterator extends GuestObject<'iter'> {
  constructor(session: GuestKernel, handle: Handle, name = '') {
    super(session, handle, 'iter', name);
  }

  /**
   * Yields what the program writes, in pieces as they come.
   *
   * @throws the program's own error, such as E2BIG when it wrote more for one element than the
   *   kernel has room for; EAGAIN when it goes on for very long without writing anything
   */
  async *chunks(options?: CallOptions): AsyncGenerator<Uint8Array> {
    let pauses = 0;
    for (;;) {
      const chunk = await this.session.read(this.handle, CHUNK_BYTES, options);
      if (chunk === undefined) {
        // The kernel pauses after a million elements without output: MAX_ITER_OBJECTS.
        if (++pauses > MAX_PAUSES) {
          const object = `${this}, which found nothing to write ${MAX_PAUSES} times in a row`;
          throw systemError('read', EAGAIN, { side: 'guest', object });
        }
        continue;
      }
      if (chunk.length === 0) return;
      pauses = 0;
      yield chunk;
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    return this.chunks();
  }

  /** Everything that the program writes, as bytes. */
  async bytes(options?: CallOptions): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.chunks(options)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** Everything that the program writes, as text. */
  async text(options?: CallOptions): Promise<string> {
    return Buffer.from(await this.bytes(options)).toString();
  }

  /** Yields the lines that the program writes, without their ends. */
  async *lines(options?: CallOptions): AsyncGenerator<string> {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of this.chunks(options)) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
    rest += decoder.decode();
    if (rest !== '') yield rest;
  }

  /**
   * Yields the records that the program writes with bpf_seq_write(), all of one shape.
   *
   * @throws ERR_CODEC_VALUE when the output ends within a record
   */
  async *records<T>(codec: Codec<T, never>, options?: CallOptions): AsyncGenerator<T> {
    let rest: Uint8Array = new Uint8Array(0);
    for await (const chunk of this.chunks(options)) {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      const view = viewOf(bytes);
      let at = 0;
      for (; at + codec.sizeBytes <= bytes.length; at += codec.sizeBytes)
        yield codec.read(view, at);
      rest = bytes.subarray(at);
    }
    if (rest.length === 0) return;
    throw failure('ERR_CODEC_VALUE', {
      where: `the last record of ${this}`,
      value: `${rest.length} bytes`,
      expected: `the ${codec.sizeBytes} bytes of a ${codec.name}`,
    });
  }
}
