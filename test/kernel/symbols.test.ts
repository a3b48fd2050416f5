import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { session as open, skip } from './local-session.js';

/** Whose functions come and go: programs and probes of others. */
const passing = /^\[(bpf|__builtin_.*)\]$/;

/** The kernel's functions as nm(1) would list them, read by this test itself. */
function kernelFunctions(): { address: bigint; name: string; module: string | undefined }[] {
  return readFileSync('/proc/kallsyms', 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(/\s+/))
    .filter(([, type = '']) => 'tTwW'.includes(type))
    .filter(([, , , module = '']) => !passing.test(module))
    .map(([hex, , name = '', module]) => ({
      address: BigInt(`0x${hex}`),
      name,
      module: module?.slice(1, -1),
    }));
}

t.test('addresses have names', { skip }, async (t) => {
  const session = await open(t);

  t.test('of the kernel', async (t) => {
    const functions = kernelFunctions();
    const starts = new Set(functions.map(({ address }) => address));
    const some = functions.filter((_, at) => at % 997 === 0);
    // Shuffled, and one of them twice: answers have the order of the questions.
    const asked = [...some, some[0] as (typeof some)[0]].reverse();
    const found = await session.symbolize(asked.map(({ address }) => address));
    t.equal(found.length, asked.length);
    for (const [at, { address }] of asked.entries()) {
      const names = functions.filter((one) => one.address === address).map(({ name }) => name);
      t.match(found[at], { address, offset: 0 });
      t.ok(names.includes(found[at]?.name ?? ''), `${names} are at ${address.toString(16)}`);
    }
    const within = some.filter(({ address }) => !starts.has(address + 1n));
    const inside = await session.symbolize(within.map(({ address }) => address + 1n));
    t.ok(inside.every((one) => one?.offset === 1));
    t.same(await session.symbolize([2n ** 63n, 0n, 4096n]), [undefined, undefined, undefined]);
  });

  t.test('of a process', async (t) => {
    const [line = ''] = readFileSync('/proc/self/maps', 'utf8').split('\n');
    const [range = '', , offset] = line.split(/ +/);
    const start = BigInt(`0x${range.split('-')[0]}`);
    const name = execFileSync('readlink', [`/proc/${process.pid}/exe`], { encoding: 'utf8' });
    t.same(await session.symbolize([start + 5n, 1n], { pid: process.pid }), [
      { address: start + 5n, name: name.trim(), offset: Number(`0x${offset}`) + 5 },
      undefined,
    ]);
    await t.rejects(session.symbolize([start], { pid: 2 ** 22 }), { code: 'ENOENT' });
  });
});
