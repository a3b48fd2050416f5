import { existsSync, readFileSync } from 'node:fs';
import { machine, release, version } from 'node:os';
import type { KernelInfo } from '../../src/frame/messages.js';

function readLine(path: string): string {
  return readFileSync(path, 'latin1').trim();
}

/** Counts the CPUs in a list such as `0-3,7`, the form of /sys/devices/system/cpu/possible. */
function countCpus(list: string): number {
  let count = 0;
  for (const part of list.split(',')) {
    const [first, last] = part.split('-').map(Number);
    if (first === undefined || !Number.isInteger(first)) throw new Error(`bad CPU list "${list}"`);
    count += (last ?? first) - first + 1;
  }
  return count;
}

let info: KernelInfo | undefined;

/**
 * Returns what a client needs to know of this machine's kernel to form calls. It is read once,
 * because it stays the same as long as this process runs.
 */
export function kernelInfo(): KernelInfo {
  info ??= {
    release: release(),
    version: version(),
    machine: machine(),
    bootId: readLine('/proc/sys/kernel/random/boot_id'),
    possibleCpus: countCpus(readLine('/sys/devices/system/cpu/possible')),
    pageSize: 4096,
    btf: existsSync('/sys/kernel/btf/vmlinux'),
  };
  return info;
}
