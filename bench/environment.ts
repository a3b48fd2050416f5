import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import type { AcceleratorName, Guest } from '../guest/index.js';
import type { Amount, Settling } from './types.js';

/** Describes the guest, in the words that charts print. */
export interface GuestEnvironment {
  /** The accelerator; `kvm` is KVM by hardware. */
  accel: AcceleratorName;
  /** Why this accelerator was used. */
  why: string;
  qemu: string;
  machine: string;
  /** QEMU's `-cpu`. Earlier runs lack it. */
  cpu?: string;
  kernel: string;
  commandLine: string;
  memoryMib: number;
  cpus: number;
  /** How the guest's network reaches the host: `tap`, `user` or `none`. */
  network: string;
  /** What serves the guest's vsock device on the host. */
  vsock: string;
  /** The guest that this one runs in, and that is its host, where it is one within another. */
  outer?: GuestEnvironment;
}

/** Describes a guest, with what serves its vsock device on the host. */
export function guestEnvironment({ info }: Guest, vsock: string): GuestEnvironment {
  const { accel, why, qemu, machine, cpu, kernel, commandLine, memoryMib, cpus, network } = info;
  return { accel, why, qemu, machine, cpu, kernel, commandLine, memoryMib, cpus, network, vsock };
}

/** Everything about a run that its samples do not say. */
export interface Environment {
  experiment: string;
  run: string;
  quick: boolean;
  /** The guest's accelerator, or `none` for an experiment without a guest. */
  accel: AcceleratorName | 'none';
  startedAt: string;
  finishedAt: string;
  /** The command that repeats this run. */
  command: string;
  title: string;
  hypothesis: string;
  parameters: Readonly<Record<string, unknown>>;
  placement: string;
  amount: Amount;
  /** How many rounds each boot had time for; earlier runs had as many as `amount` says. */
  rounds?: readonly number[];
  /** How each boot's guest came to its lasting speed; earlier runs did not wait for that. */
  settling?: ReadonlyArray<{ boot: number } & Settling>;
  absent: ReadonlyArray<{ arm: string; why: string }>;
  source: { commit: string; dirty: boolean };
  host: HostEnvironment;
  guest?: GuestEnvironment;
}

/** The machine that the bench ran on. */
export interface HostEnvironment {
  kernel: string;
  cpuModel: string;
  cpus: number;
  memoryMib: number;
  /** How many threads ran or waited to, over the last minute of the run; earlier runs lack it. */
  load?: number;
  /** The share of the processors' time in the run that the hypervisor gave to others (0…1). */
  stolen?: number;
  node: string;
  v8: string;
  compiler: string;
  clocksource: string;
  /** The CPU frequency governor, or `none` where the kernel offers no choice. */
  governor: string;
}

/**
 * The processors' time since this machine booted, in ticks, and what the hypervisor took of it.
 *
 * Source: proc_stat(5), its first line.
 */
export function processorTicks(): { all: number; stolen: number } {
  const [first = ''] = contentsOf('/proc/stat', '').split('\n');
  // Guests' time, behind stolen time, is in that of users, too.
  const ticks = first.split(/ +/).slice(1, 9).map(Number);
  return { all: ticks.reduce((sum, one) => sum + one, 0), stolen: ticks[7] ?? 0 };
}

/**
 * Describes this machine. A value that cannot be read is `unknown`, never a guess.
 *
 * @param since what {@link processorTicks} returned when the run began
 */
export function hostEnvironment(since?: ReturnType<typeof processorTicks>): HostEnvironment {
  const now = processorTicks();
  return {
    ...(since === undefined
      ? {}
      : { stolen: (now.stolen - since.stolen) / Math.max(1, now.all - since.all) }),
    kernel: release(),
    cpuModel: cpus()[0]?.model.trim() ?? 'unknown',
    cpus: cpus().length,
    memoryMib: Math.round(totalmem() / 2 ** 20),
    load: Math.round((loadavg()[0] ?? 0) * 10) / 10,
    node: process.versions.node,
    v8: process.versions.v8,
    compiler: outputOf('gcc', ['--version']).split('\n')[0] ?? 'unknown',
    clocksource: contentsOf(
      '/sys/devices/system/clocksource/clocksource0/current_clocksource',
      'unknown',
    ),
    governor: contentsOf('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor', 'none'),
  };
}

/** The commit that is measured, and whether the work tree differs from it outside of results/. */
export function sourceEnvironment(): Environment['source'] {
  return {
    commit: outputOf('git', ['rev-parse', '--short=12', 'HEAD']),
    dirty:
      outputOf('git', ['status', '--porcelain', '--untracked-files=no', '--', ':!results']) !== '',
  };
}

const cautions = {
  tcg: 'Emulated guest (TCG): not comparable with KVM figures in absolute terms',
  kvm: 'Guest under KVM (virtualised by the processor)',
  'kvm-software':
    'Guest under a KVM without a processor’s virtualisation: its kernel is emulated, and not comparable with KVM figures',
  none: 'No guest: everything runs on the host, at native speed',
} as const;

function guestLine(what: string, guest: GuestEnvironment): string {
  return `${what}: Linux ${guest.kernel}, ${guest.cpus} vCPU, ${guest.memoryMib} MiB, QEMU ${guest.qemu} ${guest.machine}, vsock by ${guest.vsock}, network ${guest.network}`;
}

/** Says in a few lines where the figures of a chart come from. */
export function environmentLines(environment: Environment): string[] {
  const { host, guest } = environment;
  const outer = guest?.outer;
  const lines: string[] = [
    outer === undefined
      ? cautions[environment.accel]
      : `Nested emulation, outer guest by ${outer.accel}: only ratios mean something`,
  ];
  if (guest !== undefined) lines.push(guestLine('Guest', guest));
  if (outer !== undefined) lines.push(guestLine('The guest that is its host', outer));
  lines.push(
    `Host: Linux ${host.kernel}, ${host.cpus} × ${host.cpuModel}${host.load === undefined ? '' : `, load ${host.load}`}${host.stolen === undefined ? '' : `, ${(100 * host.stolen).toFixed(1)} % stolen`}, Node ${host.node} · run ${environment.run}`,
    `Placement: ${environment.placement}`,
  );
  for (const { boot, transport, settled } of environment.settling ?? []) {
    if (!settled)
      lines.push(`Boot ${boot}: round trips by ${transport} still changed when it began`);
  }
  return lines;
}

function contentsOf(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return otherwise;
  }
}

function outputOf(program: string, args: string[]): string {
  try {
    return execFileSync(program, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown';
  }
}
