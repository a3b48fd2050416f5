/* What is wrong with a map's options, and can be said before a kernel is asked. */
import { fits, leastOf, type MapKind, mapKind, type Sizes } from '../bpf/index.js';
import type { Codec } from '../codec/index.js';
import { failure } from '../errors.js';
import { type OptionNames, refuseUnknownOptions } from '../known-options.js';
import type { MapOptions } from './map-options.js';
import { checkName } from './object-name.js';

type Options = MapOptions<unknown, unknown, never, never>;

const optionNames: OptionNames<Options> = {
  key: true,
  value: true,
  type: true,
  keySize: true,
  valueSize: true,
  maxEntries: true,
  flags: true,
  name: true,
  innerMap: true,
  types: true,
  extra: true,
  numaNode: true,
  interfaceIndex: true,
  timeoutMs: true,
  signal: true,
};

const MAX_U32 = 2 ** 32 - 1;

/**
 * Checks what is the same for all kernels that have the type of map.
 *
 * @param pageSize of the guest, in bytes
 * @throws ERR_OPTION_INVALID
 */
export function checkMapOptions(options: Options, pageSize: number): void {
  refuseUnknownOptions('createMap()', options, optionNames);
  const { type, key, value, maxEntries, flags = 0, name } = options;
  wholeNumber('type', type, 'one of enums.MapType, such as enums.MapType.BPF_MAP_TYPE_HASH');
  checkCodec('key', key);
  checkCodec('value', value);
  checkName(name);
  const kind = mapKind(type);
  checkSize('key', options.keySize, key, kind?.keySizes, kind);
  checkSize('value', options.valueSize, value, kind?.valueSizes, kind);
  checkEntries(maxEntries, kind, pageSize);
  wholeNumber('flags', flags, 'BPF_F_* of enums.ObjectFlag, together');
  if (kind === undefined) return;
  const missing = (kind.flags ?? 0) & ~flags;
  if (missing !== 0) {
    throw invalid(
      'flags',
      flags,
      `${missing} among them, without which ${ofKind(kind)} is not made`,
    );
  }
  if (kind.needs === 'inner map' && options.innerMap === undefined) {
    throw invalid('innerMap', undefined, `a map like those that ${ofKind(kind)} is to hold`);
  }
  if (kind.needs === 'types' && options.types === undefined) {
    throw invalid('types', undefined, `types (BTF) of the keys and values of ${ofKind(kind)}`);
  }
}

const invalid = (option: string, value: unknown, expected: string) =>
  failure('ERR_OPTION_INVALID', { option, value, expected });

const ofKind = ({ name }: MapKind) => `a map of the type ${name}`;

function wholeNumber(option: string, value: unknown, expected: string): void {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_U32) return;
  throw invalid(option, value, expected);
}

function checkCodec(part: 'key' | 'value', codec: unknown): void {
  if (codec === undefined) return;
  const { sizeBytes, name } = Object(codec) as Partial<Codec<unknown>>;
  if (typeof sizeBytes === 'number' && typeof name === 'string') return;
  const size = Number.isInteger(codec) ? `; a size in bytes is given as ${part}Size` : '';
  throw invalid(part, codec, `a codec, such as u32 or struct({ … })${size}`);
}

function checkSize(
  part: 'key' | 'value',
  size: number | undefined,
  codec: Pick<Codec<unknown, never>, 'name' | 'sizeBytes'> | undefined,
  sizes: Sizes | undefined,
  kind: MapKind | undefined,
): void {
  const option = `${part}Size`;
  if (size !== undefined) wholeNumber(option, size, 'a whole number of bytes');
  if (codec !== undefined && size !== undefined && size !== codec.sizeBytes) {
    throw invalid(option, size, `${codec.sizeBytes}, the size of a ${codec.name}; or leave it out`);
  }
  if (kind === undefined || sizes === undefined) return;
  const bytes = codec?.sizeBytes ?? size ?? 0;
  if (fits(bytes, sizes)) return;
  const expected = `${described(sizes)} for the ${part}s of ${ofKind(kind)}`;
  if (codec !== undefined) {
    throw invalid(part, `${codec.name} of ${codec.sizeBytes} bytes`, `a codec of ${expected}`);
  }
  const other = leastOf(sizes) === 0 ? '' : `; or ${part}, a codec such as u32`;
  throw invalid(option, size, `${expected}${other}`);
}

function described(sizes: Sizes): string {
  if (!('from' in sizes)) return `${sizes.join(' or ')} bytes`;
  const { from, to, multipleOf } = sizes;
  if (multipleOf !== undefined) return `a multiple of ${multipleOf} bytes`;
  return to === undefined ? `at least ${count(from)}` : `${from} to ${count(to)}`;
}

const count = (bytes: number) => (bytes === 1 ? '1 byte' : `${bytes} bytes`);

function checkEntries(entries: number, kind: MapKind | undefined, pageSize: number): void {
  if (kind === undefined) {
    wholeNumber('maxEntries', entries, 'a whole number of entries');
    return;
  }
  const isNumber = Number.isInteger(entries) && entries >= 0 && entries <= MAX_U32;
  const fitting =
    isNumber &&
    {
      counted: entries > 0,
      none: entries === 0,
      'ring bytes': entries >= pageSize && (entries & (entries - 1)) === 0,
    }[kind.entries];
  if (fitting) return;
  const expected = {
    counted: `a whole number above 0, the most entries of ${ofKind(kind)}`,
    none: `0: ${ofKind(kind)} has an entry for each object that has one, and no bound`,
    'ring bytes': `the bytes of ${ofKind(kind)}: ${pageSize}, or that times 2, 4, 8 and so on`,
  };
  throw invalid('maxEntries', entries, expected[kind.entries]);
}
