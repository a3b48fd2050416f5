import assert from 'node:assert/strict';
import { createCipheriv, createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

export const CHUNK_BYTES = 65536;

/** Yields `sizeBytes` pseudo-random bytes, the same ones every time. */
export function* pattern(sizeBytes: number): Generator<Buffer> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16, 9));
  for (let left = sizeBytes; left > 0; left -= CHUNK_BYTES) {
    yield cipher.update(Buffer.alloc(Math.min(left, CHUNK_BYTES)));
  }
}

/** The SHA-256 of what {@link pattern} yields, in hexadecimal. */
export function patternHash(sizeBytes: number): string {
  const hash = createHash('sha256');
  for (const chunk of pattern(sizeBytes)) hash.update(chunk);
  return hash.digest('hex');
}

/**
 * Writes the pattern as fast as the stream takes it. Returns the most bytes that waited in it, and
 * the most that did when write() asked for no pause.
 */
export async function writePattern(
  stream: Duplex,
  sizeBytes: number,
): Promise<{ peakBytes: number; unpausedBytes: number }> {
  let peakBytes = 0;
  let unpausedBytes = 0;
  for (const chunk of pattern(sizeBytes)) {
    const more = stream.write(chunk);
    peakBytes = Math.max(peakBytes, stream.writableLength);
    if (more) unpausedBytes = Math.max(unpausedBytes, stream.writableLength);
    else await once(stream, 'drain');
  }
  return { peakBytes, unpausedBytes };
}

/** Takes one chunk of at most `maximumBytes` out of a paused stream, or `undefined` at its end. */
async function take(stream: Duplex, maximumBytes: number): Promise<Buffer | undefined> {
  for (;;) {
    const available = Math.min(stream.readableLength, maximumBytes);
    const chunk: Buffer | null = available > 0 ? stream.read(available) : stream.read();
    if (chunk !== null) {
      if (chunk.length <= maximumBytes) return chunk;
      stream.unshift(chunk.subarray(maximumBytes));
      return chunk.subarray(0, maximumBytes);
    }
    if (stream.readableEnded) return undefined;
    if (stream.destroyed) throw stream.errored ?? new Error('the stream was destroyed');
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: Error): void => {
        stream.off('readable', settle);
        stream.off('end', settle);
        stream.off('close', settle);
        stream.off('error', settle);
        if (error instanceof Error) reject(error);
        else resolve();
      };
      stream.on('readable', settle);
      stream.on('end', settle);
      stream.on('close', settle);
      stream.on('error', settle);
    });
  }
}

/** Reads up to and with a newline and returns the line without it; the rest stays in the stream. */
export async function readLine(stream: Duplex): Promise<string> {
  let line = Buffer.alloc(0);
  for (;;) {
    const chunk = await take(stream, CHUNK_BYTES);
    if (chunk === undefined) throw new Error(`the stream ended inside a line: ${line}`);
    const newline = chunk.indexOf(10);
    if (newline >= 0) {
      if (newline + 1 < chunk.length) stream.unshift(chunk.subarray(newline + 1));
      return Buffer.concat([line, chunk.subarray(0, newline)]).toString();
    }
    line = Buffer.concat([line, chunk]);
  }
}

/** How {@link readPattern} reads. */
export interface Reading {
  /** Stops after so many bytes; else it reads to the end. */
  sizeBytes?: number;
  /** Rests so long after every 256 KiB. */
  pauseMs?: number;
}

/** Reads and hashes; `peakBytes` is the most that waited in the stream's own buffer. */
export async function readPattern(
  stream: Duplex,
  { sizeBytes = Infinity, pauseMs = 0 }: Reading = {},
): Promise<{ hash: string; readBytes: number; peakBytes: number }> {
  const hash = createHash('sha256');
  let readBytes = 0;
  let peakBytes = 0;
  let rested = 0;
  while (readBytes < sizeBytes) {
    peakBytes = Math.max(peakBytes, stream.readableLength);
    const chunk = await take(stream, Math.min(CHUNK_BYTES, sizeBytes - readBytes));
    if (chunk === undefined) break;
    hash.update(chunk);
    readBytes += chunk.length;
    if (pauseMs > 0 && readBytes - rested >= 4 * CHUNK_BYTES) {
      rested = readBytes;
      await sleep(pauseMs);
    }
  }
  return { hash: hash.digest('hex'), readBytes, peakBytes };
}

/**
 * Sends the pattern to an echo and checks that it comes back, never having more than 32 KiB under
 * way: a multiplexer with a defect in its flow control can stall on more.
 */
export async function exchangePattern(stream: Duplex, sizeBytes: number): Promise<void> {
  const windowBytes = CHUNK_BYTES / 2;
  for (const chunk of pattern(sizeBytes)) {
    for (let sent = 0; sent < chunk.length; sent += windowBytes) {
      const piece = chunk.subarray(sent, sent + windowBytes);
      stream.write(piece);
      for (let back = 0; back < piece.length; ) {
        const answer = await take(stream, piece.length - back);
        assert.ok(answer !== undefined, 'the echo ended early');
        assert.ok(answer.equals(piece.subarray(back, back + answer.length)), 'the echo differs');
        back += answer.length;
      }
    }
  }
}
