import assert from 'node:assert/strict';
import {
  type Frame,
  FrameAssembler,
  FrameType,
  HEADER_BYTES,
  putHeader,
} from '../../../../src/frame/index.js';
import type { Random } from './random.js';
import { unlessRefused } from './refusal.js';

const MAX_FRAME_BYTES = 300;

function stream(random: Random): Uint8Array {
  const frames = Array.from({ length: random.below(5) }, () => {
    const body = random.bytes(random.below(random.once(8) ? 400 : 40));
    const frame = new Uint8Array(HEADER_BYTES + body.length);
    const type = random.pick(Object.values(FrameType));
    putHeader(frame, 0, body.length, type, random.once(2) ? random.word() : random.edge());
    frame.set(body, HEADER_BYTES);
    return frame;
  });
  return random.spoilt(Buffer.concat(frames));
}

/** Returns the frames in the bytes, read all at once. */
function expected(bytes: Buffer): { frames: Frame[]; refused: boolean } {
  const frames: Frame[] = [];
  for (let at = 0; bytes.length - at >= HEADER_BYTES; ) {
    const length = bytes.readUInt32LE(at);
    const refused = bytes.readUInt16LE(at + 5) !== 0 || bytes[at + 7] !== 0;
    if (refused || length > MAX_FRAME_BYTES) return { frames, refused: true };
    const start = at + HEADER_BYTES;
    if (bytes.length - start < length) break;
    const body = bytes.subarray(start, start + length);
    frames.push({ type: bytes.readUInt8(at + 4), id: bytes.readUInt32LE(at + 8), body });
    at = start + length;
  }
  return { frames, refused: false };
}

/** Frames come out as they went in, whatever pieces they arrived in. */
export function frames(random: Random): boolean {
  const bytes = Buffer.from(stream(random));
  const assembler = new FrameAssembler(MAX_FRAME_BYTES);
  const found: Frame[] = [];
  const taken = unlessRefused(['ERR_FRAME_MALFORMED', 'ERR_FRAME_TOO_LARGE'], () => {
    for (let at = 0; at < bytes.length; ) {
      const length = 1 + random.below(random.pick([1, 13, 200, 1000]));
      assembler.add(bytes.subarray(at, at + length));
      at += length;
      for (let frame = assembler.next(); frame !== undefined; frame = assembler.next()) {
        found.push(frame);
      }
      assert.ok(assembler.pendingBytes < assembler.expectedBytes);
    }
    return true;
  });
  const { frames: all, refused } = expected(bytes);
  assert.equal(taken === undefined, refused);
  assert.equal(found.length, all.length);
  for (const [index, frame] of found.entries()) {
    const { type, id, body } = all[index] as Frame;
    assert.equal(frame.type, type);
    assert.equal(frame.id, id);
    assert.equal(Buffer.compare(frame.body, body), 0);
  }
  return !refused;
}
