import assert from 'node:assert/strict';
import { BtfTypes } from '../../../../src/btf/index.js';
import { decodeValue, encodeValue } from '../../../../src/codec/index.js';
import { int, Kind, type RawType, writeBtf } from '../../../btf/writer.js';
import type { Random } from './random.js';
import { unlessRefused } from './refusal.js';

/** Codecs of at most this many bytes are also fed, because longer ones take their time. */
const FED_BYTES = 4096;

const names = ['', 'a', 'list', 'u64', 'char'] as const;

/** Returns types with random references: to themselves, in circles, or to no type. */
function types(random: Random): RawType[] {
  const count = 1 + random.below(10);
  const any = () => random.below(count + 2);
  const length = () => (random.once(6) ? random.edge() : random.below(5));
  const members = (words: () => (number | string)[]) => {
    const vlen = random.below(4);
    return { vlen, words: Array.from({ length: vlen }, words).flat() };
  };
  const makers: readonly (() => RawType)[] = [
    () => int(random.pick(names), random.pick([1, 2, 4, 8, 16]), random.pick([0, 1, 2, 4])),
    () => ({ kind: Kind.PTR, size: any() }),
    () => ({ kind: Kind.ARRAY, words: [any(), any(), length()] }),
    () => ({
      kind: random.pick([Kind.STRUCT, Kind.UNION]),
      name: random.pick(names),
      flag: random.once(3),
      size: length() * 8,
      ...members(() => [
        random.pick(names),
        any(),
        random.once(3) ? random.word() : random.below(64),
      ]),
    }),
    () => ({
      kind: Kind.ENUM,
      size: random.pick([1, 2, 4, 8]),
      flag: random.once(2),
      ...members(() => [random.pick(names), random.edge()]),
    }),
    () => ({
      kind: Kind.ENUM64,
      size: 8,
      flag: random.once(2),
      ...members(() => [random.pick(names), random.edge(), random.edge()]),
    }),
    () => ({ kind: random.pick([Kind.TYPEDEF, Kind.CONST, Kind.FUNC]), name: 'a', size: any() }),
    () => ({ kind: Kind.FUNC_PROTO, size: any(), ...members(() => ['a', any()]) }),
    () => ({ kind: Kind.VAR, name: 'a', size: any(), words: [0] }),
    () => ({ kind: Kind.FLOAT, size: random.pick([2, 4, 8, 12]) }),
    () => ({ kind: random.below(32), size: any() }),
  ];
  return Array.from({ length: count }, () => random.pick(makers)());
}

/** Whatever a BTF contains, every question about it has an answer or an error of its own. */
export function btf(random: Random): boolean {
  const bytes = random.spoilt(writeBtf(types(random)));
  const read = unlessRefused(['ERR_BTF_MALFORMED'], () => new BtfTypes(bytes));
  if (read === undefined) return false;
  for (let id = 0; id <= read.length; id++) {
    unlessRefused(['ERR_BTF_MALFORMED', 'ERR_BTF_TYPE'], () => {
      assert.equal(read.type(id).id, id);
      read.resolve(id);
      read.sizeOf(id);
    });
    const codec = unlessRefused(['ERR_BTF_MALFORMED', 'ERR_BTF_TYPE'], () => read.codec(id));
    if (codec === undefined || codec.sizeBytes > FED_BYTES) continue;
    const value = decodeValue(codec, random.bytes(codec.sizeBytes));
    unlessRefused(['ERR_CODEC_VALUE'], () => encodeValue(codec, value as never));
  }
  for (const name of names) {
    unlessRefused(['ERR_BTF_MALFORMED', 'ERR_BTF_TYPE'], () => read.named(name));
  }
  return true;
}
