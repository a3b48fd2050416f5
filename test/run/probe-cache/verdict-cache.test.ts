import { ftruncateSync, readFileSync } from 'node:fs';
import t from 'tap';
import { rows } from '../../../src/bpf/index.js';
import { NOTIFICATION_WORDS, native, type SharedMemory, Verdict } from '../../../src/native.js';
import { recipeOf, recipeWords } from '../../../src/run/probe-cache/recipe.js';

const ARCHITECTURE = 0xc000003e;
const BPF = 321;
const COMMAND = 5;
const words = recipeWords(recipeOf(rows.PROG_LOAD, ['prog_name']), ARCHITECTURE, BPF);

/* The memory of a program: two pages, with nothing behind them. */
const ATTRIBUTE = 0;
const INSTRUCTIONS = 1024;
const LICENSE = 2048;
const LOG = 3072;
const MEMORY_BYTES = 8192;
const memory = native.shareMemory(2 * MEMORY_BYTES) as SharedMemory;
ftruncateSync(memory.fd, MEMORY_BYTES);
const base = (() => {
  const maps = readFileSync('/proc/self/maps', 'latin1').split('\n');
  const lines = maps.filter((line) => line.includes('/memfd:waep'));
  if (lines.length !== 1) throw new Error(`the memory is mapped ${lines.length} times`);
  return BigInt(`0x${lines[0]?.split('-')[0]}`);
})();
t.teardown(() => native.close(memory.fd));

const view = new DataView(memory.buffer, memory.byteOffset, MEMORY_BYTES);
const pointer = (offset: number, target: bigint) => view.setBigUint64(offset, target, true);

/** A call with a small program: r0 = 0, exit. */
function fill() {
  memory.fill(0, 0, MEMORY_BYTES);
  view.setUint32(0, 1, true);
  view.setUint32(4, 2, true);
  pointer(8, base + BigInt(INSTRUCTIONS));
  pointer(16, base + BigInt(LICENSE));
  view.setUint32(24, 1, true);
  view.setUint32(28, 256, true);
  pointer(32, base + BigInt(LOG));
  memory.set([0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95], INSTRUCTIONS);
  memory.set(Buffer.from('GPL\0rest'), LICENSE);
}

function call({
  sizeBytes = 128,
  command = COMMAND,
  number = BPF,
  architecture = ARCHITECTURE,
  address = base + BigInt(ATTRIBUTE),
  thread = process.pid,
} = {}): BigUint64Array {
  const notification = new BigUint64Array(NOTIFICATION_WORDS);
  notification.set([1n, BigInt(thread), BigInt(architecture), BigInt(number), BigInt(command)]);
  notification[5] = address;
  notification[6] = BigInt(sizeBytes);
  return notification;
}

const table = () => new native.VerdictCache(words);
const text = (key: Uint8Array | undefined) => key && Buffer.from(key).toString('latin1');
const bytes = (...values: number[]) => Uint8Array.from(values);

t.beforeEach(fill);

t.test('a key has all that the outcome depends on', (t) => {
  const cache = table();
  const key = text(cache.read(call()));
  t.ok(key);
  t.equal(text(cache.key), key);
  const parts: [string, number, number][] = [
    ['attribute', ATTRIBUTE, 32],
    // Not where the log goes.
    ['attribute', ATTRIBUTE + 40, 88],
    ['instruction', INSTRUCTIONS, 16],
    ['license', LICENSE, 4],
  ];
  for (const [what, start, length] of parts) {
    let others = 0;
    for (let at = start; at < start + length; at++) {
      for (const bit of [1, 0x10, 0x80]) {
        fill();
        memory[at] = (memory[at] as number) ^ bit;
        const other = text(cache.read(call()));
        // One bit of an address leads to where other bytes are, or none.
        t.not(other, key, `${what}: byte ${at - start}, bit ${bit}`);
        if (other !== undefined) others++;
      }
    }
    t.ok(others > 0, `${what}: some are other calls`);
  }
  fill();
  memory.set(bytes(1, 2, 3), LOG);
  memory[LICENSE + 4] = 1;
  memory[INSTRUCTIONS + 16] = 1;
  t.equal(text(cache.read(call())), key, 'what the kernel does not read makes no difference');
  memory.copyWithin(INSTRUCTIONS + 200, INSTRUCTIONS, INSTRUCTIONS + 16);
  pointer(8, base + BigInt(INSTRUCTIONS + 200));
  pointer(32, base + BigInt(LOG + 8));
  t.equal(text(cache.read(call())), key, 'nor where it is');
  pointer(32, 0n);
  t.not(text(cache.read(call())), key, 'but whether it is there');
  t.end();
});

t.test('a call that can refer to a descriptor has no key', (t) => {
  const cache = table();
  const without = (what: string, change: () => void) => {
    fill();
    t.ok(cache.read(call({ sizeBytes: 168 })), `before ${what}`);
    change();
    t.equal(cache.read(call({ sizeBytes: 168 })), undefined, what);
    t.equal(cache.key, undefined);
  };
  const fields = rows.PROG_LOAD.fields;
  for (const [name, { offset }] of Object.entries(fields)) {
    if (/_fd$/.test(name)) without(name, () => view.setUint32(offset, 3, true));
  }
  for (const name of ['fd_array', 'func_info', 'line_info', 'core_relos'] as const) {
    without(name, () => pointer(fields[name].offset, base + BigInt(LOG)));
  }
  without('a name', () => memory.set([65], fields.prog_name.offset));
  without('an instruction that refers to a map', () => memory.set([0x18, 0x10], INSTRUCTIONS));
  without('the second one', () => memory.set([0x85, 0x20], INSTRUCTIONS + 8));
  t.end();
});

t.test('a call that cannot be read as a whole has no key', (t) => {
  const cache = table();
  const end = base + BigInt(MEMORY_BYTES);
  t.equal(cache.read(call({ thread: 0x3fffffff })), undefined, 'of nobody');
  t.equal(cache.read(call({ address: 0n })), undefined, 'at NULL');
  t.equal(cache.read(call({ address: end - 64n })), undefined, 'half an attribute');
  for (const sizeBytes of [0, 513, 4096, 0xffffffff]) {
    t.equal(cache.read(call({ sizeBytes })), undefined, `an attribute of ${sizeBytes} bytes`);
  }
  const others = { command: 6, number: 320, architecture: 0x40000003 };
  for (const [name, value] of Object.entries(others)) {
    t.equal(cache.read(call({ [name]: value })), undefined, `another ${name}`);
  }
  const not = (what: string, offset: number, target: bigint) => {
    fill();
    pointer(offset, target);
    t.equal(cache.read(call()), undefined, what);
  };
  not('instructions that are not there', 8, end);
  not('half of them', 8, end - 8n);
  not('instructions at the end of all memory', 8, 0xffff_ffff_ffff_fff8n);
  memory.fill(65, MEMORY_BYTES - 8, MEMORY_BYTES);
  not('a license that is not there', 16, end);
  fill();
  memory.fill(65, MEMORY_BYTES - 8, MEMORY_BYTES);
  pointer(16, end - 8n);
  t.equal(cache.read(call()), undefined, 'a license without an end');
  memory[MEMORY_BYTES - 1] = 0;
  t.ok(cache.read(call()), 'a license at the end of memory');
  pointer(16, base + BigInt(4093));
  t.ok(cache.read(call()), 'a license in two pages');
  fill();
  memory.fill(65, LICENSE, LICENSE + 128);
  t.equal(cache.read(call()), undefined, 'a license longer than any');
  for (const count of [48, 0x10000000, 0xffffffff]) {
    fill();
    view.setUint32(4, count, true);
    const key = cache.read(call());
    if (count === 48) t.ok(key, 'the longest program');
    else t.equal(key, undefined, `${count} instructions`);
  }
  view.setUint32(4, 49, true);
  t.equal(cache.read(call()), undefined, 'a longer one');
  fill();
  // Of which each byte tells.
  for (const [offset, place] of [
    [8, INSTRUCTIONS],
    [16, LICENSE],
    [32, LOG],
  ] as const) {
    pointer(offset, base + BigInt(place + 1));
  }
  for (let sizeBytes = 1; sizeBytes <= 40; sizeBytes++) {
    const key = cache.read(call({ sizeBytes }));
    const cut = (sizeBytes > 8 && sizeBytes < 16) || (sizeBytes > 16 && sizeBytes < 24);
    if (cut || (sizeBytes > 32 && sizeBytes < 40)) t.equal(key, undefined, `${sizeBytes} bytes`);
    else t.ok(key, `${sizeBytes} bytes`);
  }
  t.end();
});

t.test('outcomes are kept, and read from a file as they were written', (t) => {
  const cache = table();
  const key = cache.read(call()) as Uint8Array;
  t.equal(cache.find(key), undefined);
  t.equal(cache.answer(-1, call()), Verdict.UNKNOWN);
  t.equal(cache.latest.length, 0);
  t.ok(cache.insert(key, 22, bytes(), false));
  t.equal(cache.find(key), 22);
  t.equal(cache.answer(-1, call()), Verdict.ANSWERED);
  t.same(cache.latest, key);
  t.ok(cache.insert(key, 7, bytes(), true), 'in the place of the older');
  t.equal(cache.size, 1);
  t.equal(cache.answer(-1, call()), Verdict.NOTIFY);
  t.ok(cache.insert(key, 0, bytes(), false));
  t.equal(cache.answer(-1, call()), Verdict.SUCCEEDS);
  memory[LICENSE] = 66;
  t.equal(cache.answer(-1, call()), Verdict.UNKNOWN);
  cache.insert(bytes(1), 5, bytes(9, 9, 9), true);
  cache.insert(bytes(2, 2), 6, bytes(), false);

  const file = cache.save();
  const again = table();
  again.load(file);
  t.equal(again.size, 3);
  t.same(
    [key, bytes(1), bytes(2, 2), bytes(3)].map((one) => again.find(one)),
    [0, 5, 6, undefined],
  );
  t.equal(again.save().length, file.length);
  for (let length = 0; length < file.length; length++) {
    const part = table();
    part.load(file.slice(0, length));
    if (part.size > 2) t.fail(`${length} bytes have ${part.size} outcomes`);
  }
  for (let at = 0; at < file.length; at++) {
    const damaged = file.slice();
    damaged[at] = 0xff;
    const part = table();
    part.load(damaged);
    if (part.size > 3) t.fail(`byte ${at}`);
    if (at < 8 + 4 + words.byteLength && part.size > 0) t.fail(`byte ${at} of the recipe`);
  }
  t.end();
});

t.test('what is kept is bounded', (t) => {
  const cache = table();
  t.notOk(cache.insert(bytes(), 1, bytes(), false), 'no key');
  t.notOk(cache.insert(new Uint8Array(2049), 1, bytes(), false), 'too long a key');
  t.notOk(cache.insert(bytes(1), 1, new Uint8Array(65537), false), 'too long an outcome');
  t.notOk(cache.insert(bytes(1), 2 ** 31, bytes(), false), 'no errno');
  const key = (number: number) => Buffer.from(Uint32Array.of(number).buffer);
  for (let number = 0; number < 16_384; number++) cache.insert(key(number), 1, bytes(), false);
  t.equal(cache.size, 16_384);
  t.notOk(cache.insert(key(16_384), 1, bytes(), false), 'one more');
  t.ok(cache.insert(key(0), 2, bytes(), false), 'another in the place of one');
  const large = table();
  let number = 0;
  while (number < 1000 && large.insert(key(number), 1, new Uint8Array(65_536), false)) number++;
  t.ok(number > 500 && number < 513, `${number} times 64 KiB`);
  t.end();
});

t.test('what is no recipe is refused', (t) => {
  for (let count = 0; count < words.length; count++) {
    t.throws(() => new native.VerdictCache(words.slice(0, count)), /no recipe/, `${count} words`);
  }
  t.throws(() => new native.VerdictCache(Uint32Array.of(...words, 0)), /no recipe/, 'one more');
  t.throws(() => new native.VerdictCache(Uint32Array.of(1, 1, 1, 0xffffffff, 0)), /no recipe/);
  t.throws(() => new native.VerdictCache(Uint32Array.of(1, 1, 1, 0, 0xffffffff)), /no recipe/);
  t.end();
});
