/* The kernels that suites run on. */
import { Option } from 'commander';
import type { KernelChoice } from '../guest/index.js';

/** Debian's kernels by their versions. */
export const debianKernels: Readonly<Record<string, KernelChoice>> = {
  '5.10': { suite: 'bullseye' },
  '6.1': {},
  '6.12': { suite: 'bookworm-backports' },
};

/** What the pages in results/ are about: these kernels, and the newest of the archive. */
export const recordedKernels: readonly string[] = [...Object.keys(debianKernels), 'sid'];

/** A kernel by its version, or by the suite of Debian that it is from. */
export function kernelNamed(name: string): KernelChoice {
  return debianKernels[name] ?? { suite: name };
}

/** `--kernel`, for a suite that runs on several. */
export function kernelOption(): Option {
  return new Option(
    '--kernel <name>',
    `only this kernel: ${Object.keys(debianKernels).join(', ')}, or a suite of Debian such as sid; may be given several times`,
  ).argParser((name: string, before: string[] = []) => [...before, name]);
}
