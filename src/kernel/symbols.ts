import { failure } from '../errors.js';
import { readText } from './guest-file.js';
import type { GuestKernel } from './guest-kernel.js';

/** What lies at an address of the guest. */
export interface Symbolized {
  /** The address that was asked for. */
  readonly address: bigint;
  /** The function of the kernel, or the file that a process has mapped there. */
  readonly name: string;
  /** How many bytes behind the function's start, or from the file's beginning. */
  readonly offset: number;
  /** The module that the function is in; `bpf` for a program. Absent for the kernel itself. */
  readonly module?: string;
}

const KALLSYMS = '/proc/kallsyms';
/** Addresses from here on are the kernel's, on every 64-bit machine. */
const KERNEL_START = 1n << 63n;

/** Finds out what lies at addresses; see {@link Session.symbolize}. */
export async function symbolize(
  session: GuestKernel,
  addresses: Iterable<bigint>,
  pid: number | undefined,
): Promise<(Symbolized | undefined)[]> {
  const all = [...addresses];
  const wanted = [...new Set(all)].sort((a, b) => (a < b ? -1 : 1));
  const firstOfKernel = wanted.findIndex((address) => address >= KERNEL_START);
  const split = firstOfKernel === -1 ? wanted.length : firstOfKernel;
  const found = new Map<bigint, Symbolized>();
  const take = (one: Symbolized) => found.set(one.address, one);
  if (split < wanted.length) (await ofKernel(session, wanted.slice(split))).forEach(take);
  if (split > 0 && pid !== undefined) {
    (await ofProcess(session, wanted.slice(0, split), pid)).forEach(take);
  }
  return all.map((address) => found.get(address));
}

/** `sorted` are addresses of the kernel, the lowest first. */
async function ofKernel(session: GuestKernel, sorted: readonly bigint[]): Promise<Symbolized[]> {
  const text = await readText(session, KALLSYMS);
  /** The last symbol before each address and behind the one before, as `[start, name, module]`. */
  const nearest: (readonly [bigint, string, string | undefined] | undefined)[] = [];
  let hidden = true;
  for (const [, hex, name = '', module] of text.matchAll(/^(\w+) [tTwW] (\S+)(?:\t\[(.+)\])?$/gm)) {
    const start = BigInt(`0x${hex}`);
    if (start === 0n) continue;
    hidden = false;
    const at = firstFrom(sorted, start);
    if (at < sorted.length && start > (nearest[at]?.[0] ?? 0n)) nearest[at] = [start, name, module];
  }
  if (hidden) {
    throw failure('ERR_KERNEL_LACKS', {
      kernel: session.kernel.release,
      what: `addresses in ${KALLSYMS} for its agent`,
      cure: 'Give the agent CAP_SYSLOG, and set kernel.kptr_restrict to 0 or 1 in the guest.',
    });
  }
  let last: (typeof nearest)[number];
  return sorted.flatMap((address, at) => {
    last = nearest[at] ?? last;
    if (last === undefined) return [];
    const [start, name, module] = last;
    const offset = Number(address - start);
    return [{ address, name, offset, ...(module === undefined ? {} : { module }) }];
  });
}

async function ofProcess(
  session: GuestKernel,
  addresses: readonly bigint[],
  pid: number,
): Promise<Symbolized[]> {
  const text = await readText(session, `/proc/${pid}/maps`);
  const line = /^(\w+)-(\w+) \S+ (\w+) \S+ \d+ +(\S.*)$/gm;
  const mappings = [...text.matchAll(line)].map(([, start, end, offset, name = '']) => ({
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${end}`),
    offset: BigInt(`0x${offset}`),
    name,
  }));
  return addresses.flatMap((address) => {
    const mapping = mappings.find(({ start, end }) => start <= address && address < end);
    if (mapping === undefined) return [];
    const { start, offset, name } = mapping;
    return [{ address, name, offset: Number(address - start + offset) }];
  });
}

/** The index of the first of sorted addresses that is not below `start`. */
function firstFrom(sorted: readonly bigint[], start: bigint): number {
  let low = 0;
  for (let high = sorted.length; low < high; ) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as bigint) < start) low = middle + 1;
    else high = middle;
  }
  return low;
}
