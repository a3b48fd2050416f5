import { randomBytes } from 'node:crypto';
import { copyFile, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure } from '../../src/errors.js';
import { type OptionNames, refuseUnknownOptions } from '../../src/known-options.js';
import { cacheFolder, makeFolder } from '../../src/paths.js';
import { profileNamed } from '../../src/policy/profiles.js';
import { connect } from '../../src/transport/index.js';
import { buildImage, type GuestFile, type Image, writeInitramfs } from '../image/image.js';
import type { KernelChoice } from '../image/kernel.js';
import { type Progress, silent } from '../image/progress.js';
import { unpackKernel } from '../image/unpack.js';
import { requireTool } from '../tools.js';
import {
  agentEnding,
  completeLines,
  lacksMemory,
  lastLine,
  panicIsOver,
  panicOf,
  timerIsOff,
} from './boot-log.js';
import {
  EXEC_PORT,
  type ExecDaemon,
  type ExecOptions,
  type ExecResult,
  exec,
  execNames,
  type GuestProcess,
  type SpawnOptions,
  spawn,
  spawnNames,
} from './exec.js';
import {
  type AcceleratorChoice,
  type AcceleratorName,
  acceleratorName,
  acceleratorNames,
  chooseAccelerator,
  qemuVersion,
  remember,
  type Verdict,
} from './qemu/accelerator.js';
import { tscKhz } from './qemu/clock.js';
import {
  chooseUid,
  findQemuUser,
  LentFiles,
  type QemuUser,
  setprivArguments,
} from './qemu/confinement.js';
import { Deadline } from './qemu/deadline.js';
import {
  board,
  commandLine,
  control,
  type Device,
  kernel,
  kernelCommandLine,
  type Machine,
  processor,
  sandbox,
  serialLog,
  tscFrequency,
} from './qemu/devices.js';
import { MachineState } from './qemu/machine-state.js';
import { type Network, type NetworkChoice, startNetwork } from './qemu/network.js';
import { type Helper, startHelper } from './qemu/process.js';
import { Qmp } from './qemu/qmp.js';
import { startVsock, type VsockBackend, type VsockChoice } from './qemu/vsock.js';
import { makeRunFolder, type RunFolder } from './rundir.js';

/** The port on which a guest's agent accepts sessions, on every transport. */
export const AGENT_PORT = 1024;

const POLICY_IN_GUEST = '/etc/waep/policy.yaml';
const KEYS_IN_GUEST = '/etc/waep/keys';

/** How the agent in the guest is started. */
export interface AgentOptions {
  /**
   * The addresses that it listens on; by default {@link AGENT_PORT} on vsock, and with `tcp` on
   * TCP.
   */
  listen?: readonly string[];
  /**
   * Which clients it accepts over TCP. With `keys`, a folder of `waep keys`, it accepts clients
   * with a certificate of that authority. `'anybody'` accepts every client; on the user-mode
   * network these are all users of this machine. Without `tcp` the agent does not listen on TCP.
   */
  tcp?: { readonly keys: string } | 'anybody';
  /** The agent's `--profile`: what sessions may do. */
  profile?: string | undefined;
  /** A policy file, in place of a profile. */
  policy?: string | undefined;
  /** Further arguments of the agent. */
  args?: readonly string[];
}

/** Options of {@link boot}. Everything has a default. */
export interface BootOptions {
  /** A ready image. By default one is made for `kernel` and `modules`. */
  image?: Image | undefined;
  /** The kernel to boot. Default: that of the configured Debian suite. */
  kernel?: KernelChoice | undefined;
  /** Kernel modules to load beyond those that every guest has. */
  modules?: readonly string[];
  /** The accelerator. Default `auto`: KVM where it works, else emulation (TCG). */
  accel?: AcceleratorChoice | undefined;
  /** Default `q35`. An emulated `microvm` does not always boot on a busy machine. */
  machine?: Machine | undefined;
  /**
   * QEMU's `-cpu`: a model of processor with its features. Default: one that suits the accelerator.
   */
  cpu?: string | undefined;
  /** Default 1536. */
  memoryMib?: number | undefined;
  /** Default 1. */
  cpus?: number | undefined;
  /** What serves the guest's vsock. Default `auto`: the kernel where it can, else this process. */
  vsock?: VsockChoice | undefined;
  /** Default `none`: on QEMU's user-mode network, every user of this machine reaches the guest. */
  network?: NetworkChoice | undefined;
  /**
   * Ports of the guest to be reachable on QEMU's user-mode network, beyond the agent's and the
   * command daemon's.
   */
  ports?: readonly number[];
  /** `false` boots without an agent. */
  agent?: AgentOptions | false;
  /**
   * Whether the guest has a daemon that runs commands, for clients with the key that is made for
   * this boot. For tests and measurements only.
   */
  exec?: boolean;
  /** Whether the guest executes a program every second, so that there is something to watch. */
  pulse?: boolean;
  /** Whether nothing is mounted below /sys: no tracefs, debugfs, securityfs, bpffs or cgroups. */
  bare?: boolean;
  /** Files to put into the guest, by absolute path. */
  files?: Readonly<Record<string, GuestFile>>;
  /** Further arguments for the kernel's command line, after those of this package. */
  kernelArgs?: readonly string[];
  /** Devices to add to the machine, or a function that makes them. */
  devices?: readonly Device[] | ((machine: Machine) => readonly Device[]);
  /**
   * Whether QEMU runs confined: with few system calls and, if this process is root, as a user of
   * its own. Default true. If QEMU must stay root, a `notice` says why.
   */
  confine?: boolean | undefined;
  /**
   * How long the guest may take until all of it answers, in milliseconds. Default 60 000. Time in
   * which the guest was ready to run but did not get a processor does not count.
   */
  deadlineMs?: number | undefined;
  /** The path to copy the serial log to when the guest is stopped. */
  keepLog?: string | undefined;
  /** Called with each step, in words, while an image is made. */
  progress?: Progress | undefined;
  /** Receives messages for people, such as why KVM is not used. Default: standard error. */
  notice?: ((line: string) => void) | undefined;
}

const bootNames: OptionNames<BootOptions> = {
  ...{ image: true, kernel: true, modules: true, accel: true, machine: true, cpu: true },
  ...{ memoryMib: true, cpus: true, vsock: true, network: true, ports: true, agent: true },
  ...{ exec: true, pulse: true, bare: true, files: true, kernelArgs: true, devices: true },
  ...{ confine: true, deadlineMs: true, keepLog: true, progress: true, notice: true },
};
const agentNames: OptionNames<AgentOptions> = {
  ...{ listen: true, tcp: true, profile: true, policy: true, args: true },
};

/** Describes a guest, in the words that records and charts print. */
export interface GuestInfo {
  /** The accelerator; `kvm` is KVM by hardware. */
  accel: AcceleratorName;
  /** Why this accelerator is used. */
  why: string;
  /** QEMU's version. */
  qemu: string;
  /** QEMU's machine type. */
  machine: Machine;
  /** QEMU's `-cpu`. */
  cpu: string;
  /** The kernel's release. */
  kernel: string;
  /** Where the kernel comes from: a package with its version, or a path. */
  kernelOrigin: string;
  /** The kernel's command line. */
  commandLine: string;
  /** The guest's memory, in MiB. */
  memoryMib: number;
  /** The number of the guest's processors. */
  cpus: number;
  /** How the guest's network reaches the host. */
  network: 'tap' | 'user' | 'none';
  /** What serves the guest's vsock on the host. */
  vsock: string;
  /** The guest's Node version. */
  node: string;
  /** The time from the start of QEMU until everything answered, in milliseconds. */
  bootMs: number;
}

/** QEMU's end of its control connection. */
const CONTROL_DESCRIPTOR = 3;
const FIRST_LENT_DESCRIPTOR = CONTROL_DESCRIPTOR + 1;

/** The length of the daemon's key: too long to be guessed. */
const EXEC_KEY_BYTES = 32;

/** A bit of a file's mode. Some distributions allow only root to read their kernels. */
const READABLE_BY_ALL = 0o004;

/** How long an unproven KVM may take until the guest's first process prints something. */
const KVM_TRIAL_MS = 10_000;

let noticed = false;
let noticedRoot = false;

/**
 * Boots a guest. Resolves when everything that the options ask for answers.
 *
 * The guest ends with this process at the latest. It does not keep the process from ending.
 *
 * @throws ERR_GUEST_BOOT with the place of the whole log, as soon as it is known that the guest
 *   will not come up: its kernel panicked, its agent ended, QEMU stopped or ended it, or the
 *   deadline passed; ERR_KVM_UNUSABLE when KVM was asked for and cannot be opened; what the image
 *   needs and cannot be had (ERR_PACKAGE_UNAVAILABLE, ERR_TOOL_MISSING, ERR_KERNEL_MODULE);
 *   ERR_OPTION_INVALID
 */
export async function boot(options: BootOptions = {}): Promise<Guest> {
  refuseUnknownOptions('boot()', options, bootNames);
  const { kernel, modules = [], progress, agent } = options;
  if (agent !== undefined && agent !== false) {
    refuseUnknownOptions('The agent of boot()', agent, agentNames);
  }
  // Check this here, because a guest whose agent does not start takes long to fail.
  if (agent !== undefined && agent !== false && agent.profile !== undefined) {
    profileNamed(agent.profile);
  }
  const image = options.image ?? (await buildImage({ kernel, modules, progress }));
  const notice = options.notice ?? ((line) => process.stderr.write(`${line}\n`));
  const announce = (verdict: Verdict) => {
    if (noticed || verdict.accelerator === 'kvm' || (options.accel ?? 'auto') !== 'auto') return;
    noticed = true;
    notice(`KVM is not used: ${verdict.why}. The guest is emulated (TCG), which is slow.`);
  };
  const verdict = await chooseAccelerator(options.accel ?? 'auto');
  if (verdict.proven) {
    announce(verdict);
    return start(options, image, verdict);
  }
  try {
    const guest = await start(options, image, verdict);
    await remember({ accelerator: 'kvm', why: 'a guest has booted on it' });
    return guest;
  } catch (error) {
    if (!(error instanceof KvmTrialError)) throw error;
    const fallback = await remember({ accelerator: 'tcg', why: error.message });
    announce(fallback);
    return start(options, image, fallback);
  }
}

/** Thrown when a guest on an unproven KVM did not even reach its first process. */
class KvmTrialError extends Error {}

async function start(options: BootOptions, image: Image, verdict: Verdict): Promise<Guest> {
  const {
    machine = 'q35',
    memoryMib = 1536,
    cpus = 1,
    kernelArgs = [],
    deadlineMs = 60_000,
    progress = silent,
  } = options;
  const run = makeRunFolder();
  const serial = join(run.path, 'serial.log');
  if (options.keepLog !== undefined) run.keep(serial, options.keepLog);
  const parts: Parts = { run, serial };
  try {
    const { release } = image.kernel;
    const vsock = await startVsock(options.vsock ?? 'auto', machine, release, run, progress);
    parts.vsock = vsock;
    const { agent: agentOptions, exec: runsCommands = false } = options;
    const onTcp = agentOptions !== false && agentOptions?.tcp !== undefined;
    const ports = [
      ...(onTcp ? [AGENT_PORT] : []),
      ...(runsCommands ? [EXEC_PORT] : []),
      ...(options.ports ?? []),
    ];
    const uid = options.confine === false ? undefined : chooseUid();
    const network = await startNetwork(options.network ?? 'none', machine, ports, uid);
    parts.network = network;
    // QEMU gets the open file, not the right to make one.
    await writeFile(serial, '', { mode: 0o600 });
    const agent = agentSetup(agentOptions, vsock, network);
    if (runsCommands) parts.execKey = randomBytes(EXEC_KEY_BYTES).toString('hex');
    const initramfs = await writeInitramfs(image, run.path, {
      files: { ...agentFiles(agentOptions), ...options.files },
      execKey: parts.execKey,
      bare: options.bare ?? false,
      agentArguments: agent?.args,
      settings: {
        ...network?.settings,
        ...(options.pulse === true ? { PULSE: '1' } : {}),
      },
    });
    const archiveMib = Math.ceil((await stat(initramfs)).size / 2 ** 20);
    const processors = processor(verdict.accelerator, cpus, options.cpu);
    const devices: Device[] = [
      board(machine, memoryMib),
      processors,
      kernel(await bootableImage(image, verdict, run), initramfs),
      serialLog(serial),
      control(CONTROL_DESCRIPTOR),
      ...(options.confine === false ? [] : [sandbox()]),
      ...(verdict.accelerator === 'tcg' ? [tscFrequency(await tscKhz())] : []),
      ...(vsock === undefined ? [] : [vsock.device]),
      ...(network === undefined ? [] : [network.device]),
      ...(typeof options.devices === 'function'
        ? options.devices(machine)
        : (options.devices ?? [])),
    ];
    const accel = acceleratorName(verdict.accelerator);
    progress(`booting Linux ${image.kernel.release} on ${acceleratorNames[accel]}`);
    const startedMs = performance.now();
    const qemuLog = join(run.path, 'qemu.log');
    const program = requireTool('qemu-system-x86_64');
    const user = qemuUser(uid, program, devices, options);
    const qemu = startQemu(run, program, devices, kernelArgs, user, qemuLog);
    parts.qemu = qemu;
    const qmp = new Qmp(qemu.control);
    parts.qmp = qmp;
    const state = new MachineState(qmp, qemuLog);
    const booting: Booting = { ...parts, qemu, state, memoryMib, archiveMib, accel, machine };
    const deadline = new Deadline(qemu.pid, deadlineMs);
    const trialMs = verdict.proven ? deadlineMs : Math.min(deadlineMs, KVM_TRIAL_MS);
    try {
      await letRun(booting, qmp, deadline);
      await waitForLines(booting, ['waep-init: '], new Deadline(qemu.pid, trialMs));
    } catch (error) {
      if (verdict.proven || !(error instanceof BootError)) throw error;
      throw new KvmTrialError(`a guest does not boot on it: ${error.message}`);
    }
    const lines = (agent?.listen ?? []).map((address) => `waep-agent: listening on ${address}`);
    if (runsCommands) lines.push('waep-execd: listening');
    // On the user-mode network QEMU accepts connections before the guest has a network.
    if (network !== undefined) lines.push('waep-init: eth0 is ');
    await waitForLines(booting, ['waep-init: ready', ...lines], deadline);
    // QEMU has read it into the guest's memory.
    await rm(initramfs);
    await probe(parts, agent?.listen ?? [], deadline);
    return new Guest(
      parts,
      {
        accel,
        why: verdict.why,
        qemu: await qemuVersion(),
        machine,
        cpu: processors.cpu,
        kernel: image.kernel.release,
        kernelOrigin: image.kernel.origin,
        commandLine: kernelCommandLine(devices, kernelArgs),
        memoryMib,
        cpus,
        network: network?.kind ?? 'none',
        vsock: vsock?.description ?? 'none',
        node: image.node,
        bootMs: Math.round(performance.now() - startedMs),
      },
      qemu,
      qmp,
      state,
    );
  } catch (error) {
    const log = error instanceof BootError ? await keepFailedLog(parts, error) : '';
    await dismantle(parts);
    if (error instanceof BootError) {
      throw failure('ERR_GUEST_BOOT', { why: error.message, log }, error);
    }
    throw error;
  }
}

function qemuUser(
  uid: number | undefined,
  program: string,
  devices: readonly Device[],
  { notice = (line) => process.stderr.write(`${line}\n`) }: BootOptions,
): QemuUser {
  const user = findQemuUser(
    uid,
    program,
    devices.flatMap(({ deviceFiles = [] }) => deviceFiles),
  );
  if (user.why !== undefined && !noticedRoot) {
    noticedRoot = true;
    notice(`QEMU runs as root: ${user.why}.`);
  }
  return user;
}

function startQemu(
  run: RunFolder,
  program: string,
  devices: readonly Device[],
  kernelArgs: readonly string[],
  user: QemuUser,
  log: string,
): Helper {
  const lent = new LentFiles(user, FIRST_LENT_DESCRIPTOR);
  try {
    const args = commandLine(devices, kernelArgs, (path) => lent.lend(path));
    return startHelper(run, program, args, log, setprivArguments(user), lent.descriptors);
  } finally {
    lent.close();
  }
}

/** Unpacks the kernel before the boot under emulation, where the guest would do it slowly. */
async function bootableImage(
  { kernel }: Image,
  { accelerator }: Verdict,
  { path }: RunFolder,
): Promise<string> {
  const unpacked = accelerator === 'kvm' ? undefined : await unpackKernel(kernel.image);
  const image = unpacked ?? kernel.image;
  if (((await stat(image)).mode & READABLE_BY_ALL) !== 0) return image;
  const copy = join(path, 'kernel');
  await copyFile(image, copy);
  return copy;
}

/** Says why a guest did not come up. The caller adds the path of its log. */
class BootError extends Error {
  /** The state of the guest's processors at the end, for the log. */
  processors = '';
}

/** The parts of a guest on the host that exist so far. */
interface Parts {
  run: RunFolder;
  serial: string;
  vsock?: VsockBackend | undefined;
  network?: Network | undefined;
  qemu?: Helper;
  qmp?: Qmp;
  /** The key of the command daemon, if there is one. */
  execKey?: string;
}

function agentFiles(agent: AgentOptions | false | undefined): Record<string, GuestFile> {
  if (agent === false || agent === undefined) return {};
  const { policy, tcp } = agent;
  const files: Record<string, GuestFile> = {};
  if (policy !== undefined) files[POLICY_IN_GUEST] = { source: policy };
  if (typeof tcp !== 'object') return files;
  for (const name of ['ca.crt', 'agent.crt', 'agent.key']) {
    files[join(KEYS_IN_GUEST, name)] = { source: join(tcp.keys, name), mode: 0o600 };
  }
  return files;
}

function agentSetup(
  options: AgentOptions | false | undefined,
  vsock: VsockBackend | undefined,
  network: Network | undefined,
): { listen: readonly string[]; args: string[] } | undefined {
  if (options === false) return undefined;
  const { profile, policy, tcp, args = [] } = options ?? {};
  const listen = options?.listen ?? [
    ...(vsock === undefined ? [] : [`vsock:any:${AGENT_PORT}`]),
    ...(network === undefined || tcp === undefined ? [] : [`tcp:0.0.0.0:${AGENT_PORT}`]),
  ];
  return {
    listen,
    args: [
      ...listen.flatMap((address) => ['--listen', address]),
      ...(tcp === 'anybody' ? ['--insecure-tcp'] : []),
      ...(typeof tcp === 'object' ? ['--keys', KEYS_IN_GUEST, '--tls-on', 'tcp'] : []),
      // The permissions of the multiplexer's socket decide who may connect. The port says nothing.
      ...(vsock === undefined || vsock.kind === 'kernel' ? [] : ['--any-source-port']),
      ...(profile === undefined ? [] : ['--profile', profile]),
      ...(policy === undefined ? [] : ['--policy', POLICY_IN_GUEST]),
      ...args,
    ],
  };
}

/** A guest that boots, and what is needed to find out why it fails. */
interface Booting extends Parts {
  qemu: Helper;
  state: MachineState;
  accel: AcceleratorName;
  machine: Machine;
  memoryMib: number;
  /** The size of the guest's root file system. */
  archiveMib: number;
}

/** Lets the processors run, once nothing that QEMU tells of them can be missed. */
async function letRun(booting: Booting, qmp: Qmp, deadline: Deadline): Promise<void> {
  const running = qmp.open().then(async () => {
    await booting.network?.opened?.(qmp);
    await qmp.execute('cont');
  });
  try {
    if ((await Promise.race([running.then(() => true), deadline.passed()])) === true) return;
  } catch (error) {
    if (!qmp.closed) throw error;
    throw new BootError(await endOfQemu(booting));
  }
  throw new BootError('in time QEMU did not answer on its control connection');
}

/** Waits until the serial log has a line that begins with each of `beginnings`. */
async function waitForLines(
  booting: Booting,
  beginnings: readonly string[],
  deadline: Deadline,
): Promise<void> {
  for (;;) {
    const { ending } = booting.qemu;
    const late = deadline.remainingMs === 0;
    const text = await readFile(booting.serial, 'utf8').catch(() => '');
    const lines = completeLines(text);
    const missing = beginnings.filter((start) => !lines.some((line) => line.startsWith(start)));
    if (missing.length === 0) return;
    const cause = failureOf(booting, lines, ending !== undefined || late);
    if (cause !== undefined) throw new BootError(cause);
    if (ending !== undefined) throw new BootError(await endOfQemu(booting));
    if (late) {
      const awaited = missing.map((line) => `"${line.trim()}"`).join(', ');
      const processors = await processorsOf(booting);
      const why = (await timerIsGivenUp(booting, processors))
        ? 'its kernel has given up its only timer, because this machine was too busy while the kernel measured it; use --machine q35, which has another'
        : `in time it did not print ${awaited}${await lastWords(booting, [booting.serial])}`;
      throw Object.assign(new BootError(why), { processors });
    }
    await sleep(20);
  }
}

/** Why the boot failed, if the guest or QEMU has said so already. */
function failureOf(
  { state, accel, memoryMib, archiveMib }: Booting,
  lines: readonly string[],
  isLast: boolean,
): string | undefined {
  const panic = panicOf(lines);
  if (panic !== undefined && (isLast || panicIsOver(lines))) {
    const cure = lacksMemory(lines)
      ? `. ${memoryMib} MiB of memory are too few for its root file system, which is ${archiveMib} MiB; give it ${enoughMib(archiveMib)} MiB`
      : '';
    return `its kernel panicked: ${panic}${cure}`;
  }
  const agent = agentEnding(lines);
  if (agent !== undefined) return agent;
  if (state.stop === undefined) return undefined;
  return accel === 'tcg' ? state.stop : `${state.stop}; use --accel tcg, which is slower`;
}

/**
 * Returns a size of memory that is enough for a root file system. While it is unpacked it is there
 * twice, it may take half of the memory beside the archive, and the kernel needs some as well.
 */
function enoughMib(archiveMib: number): number {
  return Math.ceil((3 * archiveMib + 64) / 128) * 128;
}

/** Says how QEMU ended, and why if it has said so. */
async function endOfQemu(booting: Booting): Promise<string> {
  booting.qemu.ref();
  const ending = await booting.qemu.ended;
  const { shutdown } = booting.state;
  return shutdown === undefined
    ? `QEMU ended with ${ending}${await lastWords(booting)}`
    : `${shutdown}${await lastWords(booting, [booting.serial])}`;
}

async function lastWords(
  { run, serial }: Parts,
  logs: readonly string[] = [join(run.path, 'qemu.log'), serial],
): Promise<string> {
  for (const path of logs) {
    const last = lastLine(await readFile(path, 'utf8').catch(() => ''));
    if (last !== undefined) return `; the last line of its output is "${last}"`;
  }
  return '';
}

/**
 * Returns whether the kernel has given up the only timer of its machine. While it measures the
 * timer, which takes it a tenth of a second, the timer looks the same: so it is looked at twice.
 */
async function timerIsGivenUp(booting: Booting, processors: string): Promise<boolean> {
  if (booting.machine !== 'microvm' || !timerIsOff(processors)) return false;
  await sleep(1000);
  return timerIsOff(await processorsOf(booting));
}

async function processorsOf({ state }: Booting): Promise<string> {
  // Do not wait for ever if QEMU does not answer either.
  const late = sleep(10_000, 'QEMU did not answer in time', { ref: false });
  return Promise.race([state.processors(), late]).catch((error: Error) => error.message);
}

/**
 * Checks that everything that listens in the guest can be reached from here on every transport.
 *
 * @param listen where the agent listens
 */
async function probe(parts: Parts, listen: readonly string[], deadline: Deadline): Promise<void> {
  const addresses: string[] = [];
  for (const [name, transport] of [
    ['vsock', parts.vsock],
    ['tcp', parts.network],
  ] as const) {
    if (transport === undefined) continue;
    const agent = listen.some((address) => address.startsWith(`${name}:`));
    if (agent) addresses.push(transport.address(AGENT_PORT));
    if (parts.execKey !== undefined) addresses.push(transport.address(EXEC_PORT));
  }
  for (const address of addresses) {
    try {
      const timeoutMs = Math.max(1000, deadline.remainingMs);
      const socket = await connect(address, { timeoutMs, retryDelayMs: 50 });
      socket.destroy();
    } catch (error) {
      throw new BootError(`${address} cannot be reached: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
}

/** Writes the whole log of a guest: its console, and the output of QEMU and other helpers. */
async function keepFailedLog({ run, serial }: Parts, { processors }: BootError): Promise<string> {
  const path = join(cacheFolder(), 'logs', `${new Date().toISOString()}-${process.pid}.log`);
  makeFolder(dirname(path));
  const texts = await Promise.all(
    [serial, join(run.path, 'qemu.log'), join(run.path, 'vsock.log')].map((log) =>
      readFile(log).catch(() => Buffer.alloc(0)),
    ),
  );
  await writeFile(path, Buffer.concat([...texts, Buffer.from(processors)]));
  return path;
}

async function dismantle({ run, qmp, qemu, vsock, network }: Parts): Promise<void> {
  qmp?.close();
  await qemu?.kill();
  await vsock?.helper?.kill();
  await vsock?.close?.();
  await network?.release();
  run.remove();
}

/** A running guest. `await using` or {@link Guest.stop} ends it. */
export class Guest implements AsyncDisposable {
  /** What the guest is made of. */
  readonly info: GuestInfo;
  readonly #parts: Parts;
  readonly #qemu: Helper;
  readonly #qmp: Qmp;
  readonly #state: MachineState;
  #stopping: Promise<void> | undefined;

  constructor(parts: Parts, info: GuestInfo, qemu: Helper, qmp: Qmp, state: MachineState) {
    this.#parts = parts;
    this.#state = state;
    this.#qmp = qmp;
    this.#qemu = qemu;
    this.info = info;
  }

  /**
   * Resolves when QEMU has ended, with how: `status 0` after the guest powered itself off. Resolves
   * also when QEMU has stopped the guest for ever, with the reason, such as an internal error of
   * KVM. Reading this property makes the guest keep the program from ending.
   */
  get ended(): Promise<string> {
    this.#qemu.ref();
    return Promise.race([this.#qemu.ended, this.#state.stopped]);
  }

  /** The file that the guest's console is written to, while the guest runs. */
  get log(): string {
    return this.#parts.serial;
  }

  /** The processes on the host that make up the guest, for pinning and for faults. */
  get processes(): { qemu: number; vsock: number | undefined } {
    return { qemu: this.#qemu.pid, vsock: this.#parts.vsock?.helper?.pid };
  }

  /** Which kind of vsock transport leads to the guest. */
  get vsockTransport(): VsockBackend['kind'] | 'none' {
    return this.#parts.vsock?.kind ?? 'none';
  }

  /**
   * The address of a port of the guest on the vsock transport; by default the agent's.
   *
   * @throws ERR_OPTION_INVALID when the guest has no vsock
   */
  vsock(port = AGENT_PORT): string {
    return this.#transport('vsock').address(port);
  }

  /**
   * The address of a port of the guest on the TCP transport; by default the agent's.
   *
   * @throws ERR_OPTION_INVALID when the guest has no network, or on the user-mode network when the
   *   port was not among the `ports` at boot
   */
  tcp(port = AGENT_PORT): string {
    return this.#transport('network').address(port);
  }

  #transport<N extends 'vsock' | 'network'>(name: N): NonNullable<Parts[N]> {
    const transport = this.#parts[name];
    if (transport !== undefined) return transport as NonNullable<Parts[N]>;
    throw failure('ERR_OPTION_INVALID', {
      option: name,
      value: 'none',
      expected: `a guest that was booted with a ${name}`,
    });
  }

  /**
   * The command daemon, for `exec` and `spawn` of another process: by vsock, or by the network.
   *
   * @throws ERR_OPTION_INVALID when the guest has no such transport, or was booted without the
   *   `exec` option
   */
  execDaemon(
    transport: 'vsock' | 'network' = this.#parts.vsock === undefined ? 'network' : 'vsock',
  ): ExecDaemon {
    const { execKey: key } = this.#parts;
    if (key !== undefined) return { address: this.#transport(transport).address(EXEC_PORT), key };
    throw failure('ERR_OPTION_INVALID', {
      option: 'exec',
      value: false,
      expected: 'a guest that was booted with the option exec',
    });
  }

  /**
   * Runs a command in the guest to its end. A status other than 0 is a result, not an error.
   * Needs the `exec` option.
   *
   * @throws ERR_GUEST_COMMAND when it cannot be started or does not end in time
   */
  async exec(command: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    refuseUnknownOptions('exec()', options, execNames);
    return exec(this.execDaemon(), command, options);
  }

  /** Starts a command in the guest. Needs the `exec` option. */
  async spawn(command: readonly string[], options: SpawnOptions = {}): Promise<GuestProcess> {
    refuseUnknownOptions('spawn()', options, spawnNames);
    return spawn(this.execDaemon(), command, options);
  }

  /**
   * Runs a shell script in the guest and returns what it printed. Needs the `exec` option.
   *
   * @throws ERR_GUEST_COMMAND when its status is not 0
   */
  async sh(script: string, options: ExecOptions = {}): Promise<string> {
    refuseUnknownOptions('sh()', options, execNames);
    const { status, signal, stdout, stderr } = await this.exec(['/bin/sh', '-c', script], options);
    if (status === 0) return stdout;
    throw failure('ERR_GUEST_COMMAND', {
      command: script,
      status: status === null ? `signal ${signal}` : `status ${status}`,
      output: stderr || stdout,
    });
  }

  /** Writes a file into the guest. Needs the `exec` option. */
  async writeFile(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
    await this.sh('cat > "$FILE" && chmod "$MODE" "$FILE"', {
      input: content,
      env: { FILE: path, MODE: mode.toString(8) },
    });
  }

  /** Reads a text file of the guest. Needs the `exec` option. */
  readFile(path: string): Promise<string> {
    return this.sh('cat "$FILE"', { env: { FILE: path } });
  }

  /**
   * Freezes the guest by freezing QEMU. Its peers see silence. With vhost-device-vsock 0.3.0, do
   * not close a connection attempt to a frozen guest: that program panics when it answers a closed
   * one.
   */
  pause(): void {
    this.#signal('SIGSTOP');
  }

  /** Lets a frozen guest go on. */
  resume(): void {
    this.#signal('SIGCONT');
  }

  #signal(signal: NodeJS.Signals): void {
    this.#assertRunning();
    process.kill(this.#qemu.pid, signal);
  }

  #assertRunning(): void {
    const why =
      this.#qemu.ending ??
      this.#state.stop ??
      (this.#stopping === undefined ? undefined : 'it was stopped');
    if (why !== undefined) throw failure('ERR_GUEST_STOPPED', { why, log: this.log });
  }

  /** Plugs the network card's cable in or out. */
  async setLink(up: boolean): Promise<void> {
    await this.qmp('set_link', { name: 'card', up });
  }

  /** The host threads that run the guest's processors, by processor. */
  async processorThreads(): Promise<number[]> {
    const answer = (await this.qmp('query-cpus-fast')) as { 'thread-id': number }[];
    return answer.map((cpu) => cpu['thread-id']);
  }

  /**
   * Runs one of QEMU's own commands.
   *
   * @throws ERR_GUEST_STOPPED, or ERR_TOOL_FAILED with QEMU's words
   */
  async qmp(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    this.#assertRunning();
    return this.#qmp.execute(command, args);
  }

  /** Ends the guest at once and removes its files on the host. It may be called again. */
  stop(): Promise<void> {
    this.#stopping ??= dismantle(this.#parts);
    return this.#stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
