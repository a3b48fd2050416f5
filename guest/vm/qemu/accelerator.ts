import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { failure } from '../../../src/errors.js';
import { cacheFolder, makeFolder } from '../../../src/paths.js';
import { requireTool, runTool } from '../../tools.js';
import type { Accelerator } from './devices.js';

/** Which accelerator to use; `auto` is KVM where it works. */
export type AcceleratorChoice = Accelerator | 'auto';

/**
 * The accelerator of a guest, as records and charts name it. `kvm` is KVM on a processor with
 * virtualisation. `kvm-software` is a KVM that emulates the kernel mode of its guests.
 */
export type AcceleratorName = 'kvm' | 'kvm-software' | 'tcg';

/** The same, for people. */
export const acceleratorNames: Readonly<Record<AcceleratorName, string>> = {
  kvm: 'KVM',
  'kvm-software': 'KVM in software',
  tcg: 'TCG',
};

/** Tells the two kinds of KVM apart, by this machine's processor and modules. */
export function acceleratorName(accelerator: Accelerator, root = '/'): AcceleratorName {
  if (accelerator === 'tcg') return 'tcg';
  const cpuinfo = readFileSync(join(root, 'proc/cpuinfo'), 'utf8');
  const hardware = /^flags\s*:.*\b(vmx|svm)\b/m.test(cpuinfo);
  return hardware && !existsSync(join(root, 'sys/module/kvm_pvm')) ? 'kvm' : 'kvm-software';
}

/** A choice, and its reason in words. */
export interface Verdict {
  accelerator: Accelerator;
  why: string;
  /**
   * Whether it is known from an earlier guest, since this machine was booted, that it works or not.
   */
  proven: boolean;
}

/**
 * Chooses the accelerator of a guest without trying it. /dev/kvm proves nothing: some nested
 * hypervisors offer one on which no stock kernel boots. A caller that boots on an unproven KVM must
 * watch the boot, and call {@link remember} with the outcome.
 *
 * @throws ERR_KVM_UNUSABLE when KVM is asked for and /dev/kvm cannot be opened
 */
export async function chooseAccelerator(choice: AcceleratorChoice): Promise<Verdict> {
  const problem = choice === 'tcg' ? undefined : kvmProblem();
  if (choice === 'kvm' && problem !== undefined) {
    throw failure('ERR_KVM_UNUSABLE', { why: problem });
  }
  if (choice !== 'auto') return { accelerator: choice, why: 'it was asked for', proven: true };
  if (problem !== undefined) return { accelerator: 'tcg', why: problem, proven: true };
  const known = await readFile(await verdictPath(), 'utf8').catch(() => undefined);
  if (known !== undefined) return JSON.parse(known);
  return { accelerator: 'kvm', why: '/dev/kvm can be opened', proven: false };
}

/** Keeps a verdict until this machine is booted again or gets another QEMU. */
export async function remember(verdict: Omit<Verdict, 'proven'>): Promise<Verdict> {
  const proven = { ...verdict, proven: true };
  const path = await verdictPath();
  makeFolder(dirname(path));
  await writeFile(path, JSON.stringify(proven));
  return proven;
}

/** Returns why KVM cannot even be tried, or `undefined`. */
export function kvmProblem(): string | undefined {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT'
      ? 'this machine has no /dev/kvm'
      : `/dev/kvm cannot be opened (${code})`;
  }
}

/** Such as `7.2.22`. */
export async function qemuVersion(): Promise<string> {
  const text = await runTool('qemu-system-x86_64', ['--version']);
  return text.match(/version (\S+)/)?.[1] ?? 'unknown';
}

async function verdictPath(): Promise<string> {
  requireTool('qemu-system-x86_64');
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return join(cacheFolder(), 'verdicts', `kvm-${boot}-qemu-${await qemuVersion()}.json`);
}
