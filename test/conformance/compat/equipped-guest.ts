/* The guest of the matrix: one of its own, or one that another process keeps. */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  AGENT_PORT,
  boot,
  type ExecDaemon,
  type Guest,
  type GuestFile,
  type GuestInfo,
  type KernelChoice,
  type Progress,
} from '../../../guest/index.js';
import { exec, spawn } from '../../../guest/vm/exec.js';
import { failure } from '../../../src/errors.js';
import { nativeFile } from '../../../src/native.js';
import { packageFolder } from '../../../src/paths.js';
import { profiles } from '../../../src/policy/index.js';
import type { Equipment } from './equipment.js';

/** A guest that has the equipment. */
export interface EquippedGuest extends AsyncDisposable {
  /** The agent's address. */
  readonly agent: string;
  readonly info: GuestInfo;
  /** The folder of the built programs, in the guest and on this machine. */
  readonly folder: string;
  spawn: Guest['spawn'];
  /** Runs a script in the guest's shell and returns its output. */
  sh(script: string, env?: Readonly<Record<string, string>>): Promise<string>;
}

const MEMORY_MIB = 3072;
const CPUS = 2;
/** What interfaces, filters of them and lists of sockets need. */
const MODULES = ['veth', 'sch_ingress', 'cls_bpf', 'tcp_diag'];
const BOOT_DEADLINE_MS = 240_000;

/** The facts by which other processes find a guest. */
interface Kept {
  readonly agent: string;
  readonly daemon: ExecDaemon;
  readonly info: GuestInfo;
  readonly folder: string;
}

const POLICY_PATH = '/etc/waep/compat.yaml';

/** The profile `full`, for a guest in which the folder of the built programs is one of the system's. */
function policyFor(folder: string): string {
  const readable = [...profiles.full.readable_paths, `${folder}/`];
  return JSON.stringify({ profile: 'full', readable_paths: readable });
}

/** Where the agent of an equipped guest listens within the guest. */
const AGENT_WITHIN = 'unix:/run/waep-agent.sock';
/** The folder of the agent in a guest. It has the addon, which `waep run` needs as well. */
const LIBRARY = '/usr/lib/waep';

/** The words before a command that runs within the guest under `waep run`. */
export const runWithin: readonly string[] = [
  ...['/bin/node', join(LIBRARY, 'waep.cjs')],
  ...['run', '--vm', AGENT_WITHIN, '--'],
];

/** Returns what `waep run` needs within a guest. */
function commandFiles(): Record<string, GuestFile> {
  const sources = [
    ...['package.json', 'dist/cli/waep.cjs', 'dist/cli/run.cjs'].map((path) =>
      join(packageFolder, path),
    ),
    nativeFile('waep-launch'),
  ];
  return Object.fromEntries(sources.map((source) => [join(LIBRARY, basename(source)), { source }]));
}

/** What a guest is equipped with. */
type Built = Pick<Equipment, 'files' | 'folder'>;

/** Boots a guest for the matrix. */
export function bootEquipped(
  { files, folder }: Built,
  progress: Progress,
  kernel?: KernelChoice,
): Promise<Guest> {
  return boot({
    kernel,
    exec: true,
    memoryMib: MEMORY_MIB,
    cpus: CPUS,
    modules: MODULES,
    agent: {
      listen: [`vsock:any:${AGENT_PORT}`, AGENT_WITHIN],
      args: ['--policy', POLICY_PATH],
    },
    files: { ...files, ...commandFiles(), [POLICY_PATH]: { text: policyFor(folder) } },
    deadlineMs: BOOT_DEADLINE_MS,
    progress,
    notice: progress,
  });
}

/** Returns the text that {@link joinGuest} and {@link equipmentIn} need. */
export function describeGuest(guest: Guest, { files: _, ...equipment }: Built): string {
  return `${JSON.stringify({ ...keptOf(guest, equipment.folder), equipment }, null, 1)}\n`;
}

function keptOf(guest: Guest, folder: string): Kept {
  return { agent: guest.vsock(), daemon: guest.execDaemon(), info: guest.info, folder };
}

/** Returns a guest that somebody else has booted and stops. `folder` has its built programs. */
export function joined(guest: Guest, folder: string): EquippedGuest {
  return over(keptOf(guest, folder), async () => {});
}

/** Returns the guest that a file from {@link describeGuest} describes. It is not stopped. */
export async function joinGuest(path: string): Promise<EquippedGuest> {
  return over(JSON.parse(await readFile(path, 'utf8')), async () => {});
}

/** Returns the equipment, without its files, of the guest that the file describes. */
export async function equipmentIn(path: string): Promise<Omit<Equipment, 'files'>> {
  return JSON.parse(await readFile(path, 'utf8')).equipment;
}

/** Boots a guest of its own. */
export async function openGuest(
  equipment: Built,
  progress: Progress,
  kernel?: KernelChoice,
): Promise<EquippedGuest> {
  const guest = await bootEquipped(equipment, progress, kernel);
  return over(keptOf(guest, equipment.folder), () => guest.stop());
}

function over({ agent, daemon, info, folder }: Kept, stop: () => Promise<void>): EquippedGuest {
  return {
    agent,
    info,
    folder,
    spawn: (command, options) => spawn(daemon, command, options),
    async sh(script, env = {}) {
      const command = ['/bin/sh', '-c', script];
      const { status, signal, stdout, stderr } = await exec(daemon, command, { env });
      if (status === 0) return stdout;
      throw failure('ERR_GUEST_COMMAND', {
        command: script,
        status: status === null ? `signal ${signal}` : `status ${status}`,
        output: stderr || stdout,
      });
    },
    [Symbol.asyncDispose]: stop,
  };
}
