import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure } from '../../../src/errors.js';
import { VsockDevice } from '../../../src/transport/index.js';
import { fetchPackage } from '../../image/debian.js';
import type { Progress } from '../../image/progress.js';
import { findTool, runTool } from '../../tools.js';
import type { RunFolder } from '../rundir.js';
import { type Device, kernelVsock, type Machine, vhostUserVsock } from './devices.js';
import { type Helper, startHelper } from './process.js';

/**
 * The buffer of vhost-device-vsock for each connection, in bytes, which is also the guest's credit.
 * It is as large as that of the kernel's sockets. The program's own default is one packet, and the
 * guest would wait after each.
 */
const MULTIPLEXER_BUFFER_BYTES = 256 * 1024;

/** What serves the guest's vsock device on the host. */
export type VsockChoice = 'auto' | 'kernel' | 'device' | 'mux' | 'none';

/** The host's end of a guest's vsock. */
export interface VsockBackend {
  kind: 'kernel' | 'device' | 'mux';
  /** Its name for records, such as `vhost-vsock` or `vhost-device-vsock 0.3.0-2`. */
  description: string;
  device: Device;
  /** The address of a port of the guest. */
  address(port: number): string;
  /** The process that serves it, if it is another one. */
  helper?: Helper;
  /** Ends the device in this process. */
  close?(): Promise<void>;
}

/** Returns why the host's kernel cannot serve vsock devices, or `undefined` if it can. */
export function kernelVsockProblem(): string | undefined {
  try {
    accessSync('/dev/vhost-vsock', constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT'
      ? 'this machine has no /dev/vhost-vsock'
      : `/dev/vhost-vsock cannot be opened (${code})`;
  }
}

/**
 * Returns why a version of vhost-device-vsock cannot serve a guest with a kernel of this release,
 * or `undefined` if it can.
 *
 * Since Linux 6.17, and 6.12.68 of the long-term series, packets of more than 32 KiB come in
 * several parts. vhost-device-vsock 0.3.0 drops such packets, so a connection loses bytes in its
 * middle. This was seen with a plain C sender in the guest and a plain client on the host.
 */
export function multiplexerProblem(version: string, release: string): string | undefined {
  if (compareVersions(version, '0.3.0') > 0) return undefined;
  const inParts =
    compareVersions(release, '6.17') >= 0 ||
    (release.startsWith('6.12.') && compareVersions(release, '6.12.68') >= 0);
  return inParts
    ? `vhost-device-vsock ${version} loses what Linux ${release} sends in packets of more than 32 KiB`
    : undefined;
}

/** Compares two versions, as many numbers as `b` has. Returns less than 0 if `a` is older. */
function compareVersions(a: string, b: string): number {
  const numbers = (text: string) => text.split(/[^0-9]+/).map(Number);
  const [ours, theirs] = [numbers(a), numbers(b)];
  return theirs.map((number, i) => (ours[i] ?? 0) - number).find((sign) => sign !== 0) ?? 0;
}

/**
 * Makes the host's end of a guest's vsock. Starts a process if the choice needs one.
 *
 * @param release the release of the guest's kernel
 * @throws ERR_OPTION_INVALID when the choice does not work on this machine or with this kernel
 */
export async function startVsock(
  choice: VsockChoice,
  machine: Machine,
  release: string,
  run: RunFolder,
  progress: Progress,
): Promise<VsockBackend | undefined> {
  if (choice === 'none') return undefined;
  const problem = kernelVsockProblem();
  if (choice === 'mux') return multiplexerBackend(machine, release, run, progress);
  if (choice === 'device' || (choice === 'auto' && problem !== undefined)) {
    return deviceBackend(machine, run);
  }
  if (problem !== undefined) {
    throw failure('ERR_OPTION_INVALID', {
      option: 'vsock',
      value: choice,
      expected: `device, or a loaded vhost_vsock module: ${problem}`,
    });
  }
  return kernelBackend(machine);
}

function kernelBackend(machine: Machine): VsockBackend {
  // Context identifiers are shared by all of the host's guests and 32 bits wide; QEMU refuses one
  // that is taken. Below 1024 people choose theirs by hand.
  const cid = 1024 + Math.floor(Math.random() * 0x7fff0000);
  return {
    kind: 'kernel',
    description: 'vhost-vsock',
    device: kernelVsock(machine, cid),
    address: (port) => `vsock:${cid}:${port}`,
  };
}

/** Serves the device in this process, and offers other processes a multiplexer's socket. */
async function deviceBackend(machine: Machine, run: RunFolder): Promise<VsockBackend> {
  const socket = join(run.path, 'vhost.sock');
  const device = await VsockDevice.open({
    socket,
    path: join(run.path, 'vsock'),
    multiplexer: true,
  });
  return {
    kind: 'device',
    description: 'in-process device',
    device: vhostUserVsock(machine, socket),
    address: (port) => device.address(port),
    close: () => device.close(),
  };
}

/** A vhost-device-vsock program. */
export interface Multiplexer {
  program: string;
  version: string;
}

/**
 * Finds the vhost-device-vsock program: the installed one, or else Debian's package in the cache.
 */
export async function findMultiplexer(progress?: Progress): Promise<Multiplexer> {
  const installed = findTool('vhost-device-vsock');
  if (installed !== undefined) {
    const words = await runTool(installed, ['--version']);
    return { program: installed, version: words.trim().split(' ').at(-1) ?? '' };
  }
  const found = await fetchPackage('vhost-device-vsock', { suite: 'unstable', progress });
  return {
    program: join(found.folder, 'usr/bin/vhost-device-vsock'),
    version: found.version,
  };
}

async function multiplexerBackend(
  machine: Machine,
  release: string,
  run: RunFolder,
  progress: Progress,
): Promise<VsockBackend> {
  const multiplexer = await findMultiplexer(progress);
  const problem = multiplexerProblem(multiplexer.version, release);
  if (problem !== undefined) {
    throw failure('ERR_OPTION_INVALID', {
      option: 'vsock',
      value: 'mux',
      expected: `device: ${problem}`,
    });
  }
  const { helper, description, socket, path } = await startMultiplexer(run, multiplexer);
  return {
    kind: 'mux',
    description,
    device: vhostUserVsock(machine, socket),
    address: (port) => `vsock-mux:${path}:${port}`,
    helper,
  };
}

/** A vhost-device-vsock that waits for QEMU at `socket` and for programs at `path`. */
interface ForeignMultiplexer {
  helper: Helper;
  description: string;
  socket: string;
  path: string;
}

/** Starts vhost-device-vsock for a guest with the context identifier 3. */
async function startMultiplexer(
  run: RunFolder,
  { program, version }: Multiplexer,
): Promise<ForeignMultiplexer> {
  const socket = join(run.path, 'vhost.sock');
  const path = join(run.path, 'vsock');
  const log = join(run.path, 'vsock.log');
  const credit = ['--tx-buffer-size', String(MULTIPLEXER_BUFFER_BYTES)];
  const args = ['--guest-cid', '3', '--socket', socket, '--uds-path', path, ...credit];
  const helper = startHelper(run, program, args, log);
  // QEMU connects once and does not try again.
  const deadline = Date.now() + 5000;
  while (!existsSync(socket)) {
    if (helper.ending !== undefined || Date.now() > deadline) {
      const why = helper.ending ?? 'its socket did not appear within 5 s';
      throw failure('ERR_TOOL_FAILED', { tool: program, why, log });
    }
    await sleep(5);
  }
  return { helper, description: `vhost-device-vsock ${version}`, socket, path };
}
