import t from 'tap';
import {
  enums,
  type MapOptions,
  type ProgramOptions,
  Session,
  struct,
  u32,
  u64,
} from '../../src/index.js';
import { session as open, skip } from './local-session.js';
import { judge } from './map-breaches.js';

const { MapType, ObjectFlag } = enums;
const hash = { type: MapType.BPF_MAP_TYPE_HASH, key: u32, value: u64, maxEntries: 8 };
const ring = { type: MapType.BPF_MAP_TYPE_RINGBUF };

/** Options that are wrong in one way, and what is said of them. */
const wrong: Readonly<Record<string, readonly [options: object, message: string]>> = {
  'a hash without keys': [
    { type: MapType.BPF_MAP_TYPE_HASH, value: u64, maxEntries: 8 },
    'Invalid keySize: undefined. Expected at least 1 byte for the keys of a map of the type hash; or key, a codec such as u32.',
  ],
  'a hash without values': [
    { type: MapType.BPF_MAP_TYPE_HASH, key: u32, maxEntries: 8 },
    'Invalid valueSize: undefined. Expected at least 1 byte for the values of a map of the type hash; or value, a codec such as u32.',
  ],
  'no type': [
    { ...hash, type: undefined },
    'Invalid type: undefined. Expected one of enums.MapType, such as enums.MapType.BPF_MAP_TYPE_HASH.',
  ],
  'no number of entries': [
    { ...hash, maxEntries: undefined },
    'Invalid maxEntries: undefined. Expected a whole number above 0, the most entries of a map of the type hash.',
  ],
  'no entries': [
    { ...hash, maxEntries: 0 },
    'Invalid maxEntries: 0. Expected a whole number above 0, the most entries of a map of the type hash.',
  ],
  'a bigint of entries': [
    { ...hash, maxEntries: 8n },
    'Invalid maxEntries: 8n. Expected a whole number above 0, the most entries of a map of the type hash.',
  ],
  'a dash in the name': [
    { ...hash, name: 'my-map' },
    'Invalid name: "my-map". Expected at most 15 characters, each a letter of the alphabet, a digit, _ or .',
  ],
  'a long name': [
    { ...hash, name: 'a'.repeat(16) },
    'Invalid name: "aaaaaaaaaaaaaaaa". Expected at most 15 characters, each a letter of the alphabet, a digit, _ or .',
  ],
  'a ring that is no power of two': [
    { ...ring, maxEntries: 1000 },
    'Invalid maxEntries: 1000. Expected the bytes of a map of the type ringbuf: 4096, or that times 2, 4, 8 and so on.',
  ],
  'a ring below a page': [
    { ...ring, maxEntries: 2048 },
    'Invalid maxEntries: 2048. Expected the bytes of a map of the type ringbuf: 4096, or that times 2, 4, 8 and so on.',
  ],
  'a ring with values': [
    { ...ring, maxEntries: 4096, value: u32 },
    'Invalid value: "u32 of 4 bytes". Expected a codec of 0 bytes for the values of a map of the type ringbuf.',
  ],
  'an array with long keys': [
    { ...hash, type: MapType.BPF_MAP_TYPE_ARRAY, key: u64 },
    'Invalid key: "u64 of 8 bytes". Expected a codec of 4 bytes for the keys of a map of the type array.',
  ],
  'a size in place of a codec': [
    { ...hash, key: 4 },
    'Invalid key: 4. Expected a codec, such as u32 or struct({ … }); a size in bytes is given as keySize.',
  ],
  'a text in place of a codec': [
    { ...hash, value: 'u64' },
    'Invalid value: "u64". Expected a codec, such as u32 or struct({ … }).',
  ],
  'a size beside a codec of another': [
    { ...hash, keySize: 8 },
    'Invalid keySize: 8. Expected 4, the size of a u32; or leave it out.',
  ],
  'prefixes without a flag': [
    { ...hash, type: MapType.BPF_MAP_TYPE_LPM_TRIE, key: struct({ length: u32, prefix: u32 }) },
    'Invalid flags: 0. Expected 1 among them, without which a map of the type lpm_trie is not made.',
  ],
  'maps without a model': [
    { type: MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, keySize: 4, valueSize: 4, maxEntries: 1 },
    'Invalid innerMap: undefined. Expected a map like those that a map of the type array_of_maps is to hold.',
  ],
  'storage with a number of entries': [
    {
      ...{ type: MapType.BPF_MAP_TYPE_SK_STORAGE, keySize: 4, valueSize: 4, maxEntries: 8 },
      flags: ObjectFlag.BPF_F_NO_PREALLOC,
    },
    'Invalid maxEntries: 8. Expected 0: a map of the type sk_storage has an entry for each object that has one, and no bound.',
  ],
  'storage without types': [
    {
      ...{ type: MapType.BPF_MAP_TYPE_SK_STORAGE, keySize: 4, valueSize: 4, maxEntries: 0 },
      flags: ObjectFlag.BPF_F_NO_PREALLOC,
    },
    'Invalid types: undefined. Expected types (BTF) of the keys and values of a map of the type sk_storage.',
  ],
};

t.test('what no kernel makes', { skip }, async (t) => {
  const session = await open(t);
  for (const [name, [options, message]] of Object.entries(wrong)) {
    await t.rejects(
      session.createMap(options as unknown as MapOptions),
      { code: 'ERR_OPTION_INVALID', message },
      name,
    );
  }
  const program = { type: enums.ProgType.BPF_PROG_TYPE_XDP, instructions: new Uint8Array(16) };
  await t.rejects(session.loadProgram({ ...program, license: 'GPL', name: 'my-program' }), {
    code: 'ERR_OPTION_INVALID',
    message: /^Invalid name: "my-program"/,
  });
});

t.test('this kernel refuses all that is refused before it is asked', { skip }, async (t) => {
  const { made, asked, mistaken } = await judge(await open(t));
  t.same(mistaken, []);
  t.ok(made.length > 20 && asked > 300, `${asked} maps of ${made.length} types`);
});

t.test('an option that there is none of is refused', { skip }, async (t) => {
  const session = await open(t);
  const misspelt = { ...hash, maxEntires: 8 };
  await t.rejects(session.createMap(misspelt), {
    code: 'ERR_OPTION_UNKNOWN',
    message: 'createMap() has no option "maxEntires". Did you mean maxEntries?',
  });
  const program = { type: 1, insns: new Uint8Array(8), license: 'GPL' };
  await t.rejects(session.loadProgram(program as unknown as ProgramOptions), {
    code: 'ERR_OPTION_UNKNOWN',
    message: /^loadProgram\(\) has no option "insns"\. It has type, instructions, /,
  });
  const late = { leaseMs: -1 };
  await t.rejects(Session.connect(session.address, late), {
    code: 'ERR_OPTION_INVALID',
    message: 'Invalid leaseMs: -1. Expected milliseconds, 0 or more.',
  });
  await t.rejects(Session.connect(session.address, { callTimeoutMs: Number.NaN }), {
    message: 'Invalid callTimeoutMs: NaN. Expected milliseconds, 0 or more.',
  });
  // Nothing else names such options to the compiler: they are not written where they are passed.
  const lease = { client: 'late', leaseMS: 5 };
  await t.rejects(Session.connect(session.address, lease), {
    code: 'ERR_OPTION_UNKNOWN',
    message: 'Session.connect() has no option "leaseMS". Did you mean leaseMs?',
  });
  const event = { type: 1, frequency: 99 };
  await t.rejects(session.openPerfEvent(event), { code: 'ERR_OPTION_UNKNOWN' });
});

t.test('an operation that the type of map does not have', { skip }, async (t) => {
  const session = await open(t);
  await using table = await session.createMap({ ...hash, name: 'table' });
  await using events = await session.createMap({ ...ring, maxEntries: 4096, name: 'events' });
  await using queue = await session.createMap({
    ...{ type: MapType.BPF_MAP_TYPE_QUEUE, value: u32, maxEntries: 2 },
  });
  const refused = { code: 'ERR_MAP_OPERATION' };
  // @ts-expect-error Tables have keys.
  await t.rejects(table.push(1n), {
    ...refused,
    message: /^map "table" is of the type hash, which has no push\(\)\. It has lookup\(\), /,
  });
  // @ts-expect-error Tables have no records.
  t.throws(() => table.records(), refused);
  // @ts-expect-error Nor are they written so.
  await t.rejects(table.submit([]), refused);
  // @ts-expect-error Rings have no keys.
  await t.rejects(events.lookup(1), {
    ...refused,
    message: 'map "events" is of the type ringbuf, which has no lookup(). It has records().',
  });
  // @ts-expect-error Queues have no keys.
  await t.rejects(queue.update(1, 2), refused);
  // @ts-expect-error Nor entries.
  t.throws(() => queue.entries(), refused);
  // @ts-expect-error Only bloom filters answer so.
  await t.rejects(queue.mayHave(1), refused);
  // What the compiler knows nothing of has all operations.
  await using found = await session.map({ id: (await queue.info()).id }, { value: u32 });
  await found.push(7);
  t.equal(await queue.pop(), 7);
  await t.rejects(found.lookup(Uint8Array.of(1)), refused);
});
