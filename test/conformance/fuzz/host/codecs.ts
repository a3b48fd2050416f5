import assert from 'node:assert/strict';
import {
  type AnyCodec,
  array,
  bits,
  bool,
  bytes,
  count,
  decodeValue,
  encodeValue,
  f64,
  named,
  perCpu,
  s8,
  s32,
  s64,
  struct,
  text,
  u8,
  u16,
  u16be,
  u32,
  u32be,
  u64,
} from '../../../../src/codec/index.js';
import type { Random } from './random.js';
import { unlessRefused } from './refusal.js';

const plain = [u8, u16, u16be, u32, u32be, u64, s8, s32, s64, count, bool, f64] as const;

function codec(random: Random, depth = 0): AnyCodec {
  switch (random.below(depth > 2 ? 5 : 8)) {
    case 0:
      return text(1 + random.below(9));
    case 1:
      return bytes(random.below(9));
    case 2:
      return bits(random.below(8), 1 + random.below(24), random.once(2));
    case 3:
      return named({ ONE: 1, TWO: 2 }, u8);
    case 4:
      return random.pick<AnyCodec>(plain);
    case 5:
      return array(codec(random, depth + 1), random.below(4));
    case 6:
      return perCpu(random.pick<AnyCodec>(plain)).forCpus?.(1 + random.below(3)) ?? u8;
    default:
      return struct({ a: codec(random, depth + 1), b: codec(random, depth + 1) });
  }
}

function value(random: Random, depth = 0): unknown {
  switch (random.below(depth > 2 ? 8 : 10)) {
    case 0:
      return random.edge();
    case 1:
      return BigInt(random.word()) << BigInt(random.below(40));
    case 2:
      return -random.edge();
    case 3:
      return random.pick(['ONE', 'a', '', 'a\0b', 'much too long for its place', '𝄞']);
    case 4:
      return random.once(2);
    case 5:
      return random.bytes(random.below(10));
    case 6:
      return random.pick([null, undefined, Number.NaN, 0.5, Number.POSITIVE_INFINITY, -0]);
    case 7:
      return random.below(300);
    case 8:
      return Array.from({ length: random.below(4) }, () => value(random, depth + 1));
    default:
      return { a: value(random, depth + 1), b: value(random, depth + 1) };
  }
}

/**
 * Any value is encoded or refused, and encoding a decoded value gives the same bytes. The check
 * begins with encoded bytes, because bytes behind the end of a text, and bits beside a bit field,
 * have no value.
 */
export function codecs(random: Random): boolean {
  const any = codec(random);
  const read = decodeValue(any, random.bytes(any.sizeBytes));
  const given = random.once(2) ? read : value(random);
  const written = unlessRefused(['ERR_CODEC_VALUE'], () => encodeValue(any, given as never));
  if (written === undefined) return false;
  assert.equal(written.length, any.sizeBytes);
  const again = encodeValue(any, decodeValue(any, written) as never);
  assert.equal(Buffer.compare(again, written), 0);
  return true;
}
