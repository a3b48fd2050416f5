/* How much the processes of a soak hold. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { Guest } from '../../guest/index.js';
import { until } from '../until.js';
import { type Held, held } from './collector.js';

/**
 * Has the C library give freed memory back at once. It would keep holes between what is in use for
 * later, which cannot be told from memory that is never freed: what waited for a collection, the more
 * the larger the engine's young generation has become.
 */
export const GIVES_BACK = [
  'mmap_threshold=4096',
  'mmap_max=1000000',
  'trim_threshold=4096',
  'top_pad=0',
  'arena_max=1',
]
  .map((setting) => `glibc.malloc.${setting}`)
  .join(':');

/** Where the agent in the guest writes what it holds. */
const GUEST_FILE = '/tmp/held';

/** A process at a moment: its memory right after a collection, its descriptors and threads. */
export interface Reading extends Held {
  descriptors: number;
  threads: number;
}

/** A process that is not Node: what it has written to, in bytes, and its descriptors. */
export interface NativeReading {
  privateBytes: number;
  descriptors: number;
}

/** What the kernel of the guest says of its memory, and what runs there beside the agent. */
export interface GuestReading {
  memAvailableKib: number;
  slabKib: number;
  executors: number;
  /** What all executors have written to. */
  executorsKib: number;
  /** What the one has written to that runs longest. */
  oldestExecutorKib: number;
  /** What the keeper has written to. */
  keeperKib: number;
}

/**
 * What a process needs of memory: what is resident, without the room that the JavaScript engine
 * keeps for objects to come, which grows and shrinks with the rate of garbage.
 */
export function neededBytes({ rss, heapResident, heapUsed }: Held): number {
  return rss - heapResident + heapUsed;
}

const threadsIn = (status: string) => Number(/^Threads:\s*(\d+)/m.exec(status)?.[1]);

/** Reads this process. */
export async function readHere(): Promise<Reading> {
  return {
    ...(await held()),
    descriptors: readdirSync('/proc/self/fd').length,
    threads: threadsIn(readFileSync('/proc/self/status', 'utf8')),
  };
}

/** Reads a process of this machine that has loaded the collector, which writes to `file`. */
export async function readProcess(pid: number, file: string): Promise<Reading> {
  rmSync(file, { force: true });
  process.kill(pid, 'SIGUSR2');
  await until(`what process ${pid} holds`, () => existsSync(file));
  return {
    ...(JSON.parse(readFileSync(file, 'utf8')) as Held),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: threadsIn(readFileSync(`/proc/${pid}/status`, 'utf8')),
  };
}

/** Reads a process of this machine that is not Node. */
export function readNative(pid: number): NativeReading {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return {
    privateBytes: 1024 * Number(/^Private_Dirty:\s*(\d+)/m.exec(text)?.[1]),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** The children of a process of this machine that have this name, the oldest first. */
export function childrenOf(pid: number, name: string): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(/\s+/)
    .map(Number)
    .filter((child) => readFileSync(`/proc/${child}/comm`, 'utf8').trim() === name);
}

/** What boots a guest whose agent tells what it holds; `collector` is the bundled file. */
export function reportingGuest(collector: string) {
  return {
    files: { '/usr/lib/waep/collector.cjs': { source: collector } },
    // Variables that the kernel does not know are the environment of its first process.
    kernelArgs: [
      'NODE_OPTIONS=--require=/usr/lib/waep/collector.cjs',
      `WAEP_MEMORY_FILE=${GUEST_FILE}`,
    ],
  };
}

/** Reads the agent of a guest, and the guest. */
export async function readGuest(guest: Guest): Promise<{ agent: Reading; guest: GuestReading }> {
  const text = await guest.sh(
    `
    pid=$(pidof node)
    rm -f ${GUEST_FILE}
    kill -USR2 $pid
    i=0
    while [ ! -e ${GUEST_FILE} ] && [ $i -lt 100 ]; do sleep 0.3; i=$((i+1)); done
    cat ${GUEST_FILE}; echo
    ls /proc/$pid/fd | wc -l
    grep Threads /proc/$pid/status
    grep -E '^(MemAvailable|Slab)' /proc/meminfo
    for p in $(pidof waep-keeper waep-executor); do
      echo "$(cat /proc/$p/comm) $p $(grep Private_Dirty /proc/$p/smaps_rollup)"
    done 2>/dev/null
    true`,
    { timeoutMs: 120_000 },
  );
  const [json = '', descriptors = ''] = text.split('\n');
  const number = (pattern: RegExp) => Number(pattern.exec(text)?.[1]);
  const written = (name: string) =>
    [...text.matchAll(new RegExp(`^${name} (\\d+) Private_Dirty:\\s*(\\d+)`, 'gm'))]
      .sort(([, one], [, other]) => Number(one) - Number(other))
      .map(([, , kib]) => Number(kib));
  const executors = written('waep-executor');
  return {
    agent: {
      ...(JSON.parse(json) as Held),
      descriptors: Number(descriptors),
      threads: number(/^Threads:\s*(\d+)/m),
    },
    guest: {
      memAvailableKib: number(/^MemAvailable:\s*(\d+)/m),
      slabKib: number(/^Slab:\s*(\d+)/m),
      executors: executors.length,
      executorsKib: executors.reduce((sum, kib) => sum + kib, 0),
      oldestExecutorKib: executors[0] ?? Number.NaN,
      keeperKib: written('waep-keeper')[0] ?? Number.NaN,
    },
  };
}
