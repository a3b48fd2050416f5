import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure } from '../../src/errors.js';
import { VsockDevice } from '../../src/transport/index.js';
import { fetchPackage } from '../debian.js';
import type { Progress } from '../progress.js';
import type { RunFolder } from '../rundir.js';
import { findTool } from '../tools.js';
import { type Device, kernelVsock, type Machine, vhostUserVsock } from './devices.js';
import { type Helper, startHelper } from './process.js';

/**
 * What vhost-device-vsock holds of a connection, and the guest may send ahead: as much as the
 * kernel's sockets. Its own default, a packet, has the guest wait after each.
 */
const MULTIPLEXER_BUFFER_BYTES = 256 * 1024;

/** Who serves the guest's vsock device on the host. */
export type VsockChoice = 'auto' | 'kernel' | 'device' | 'mux' | 'none';

/** The host's end of a guest's vsock. */
export interface VsockBackend {
  kind: 'kernel' | 'device' | 'mux';
  /** In words, for records: `vhost-vsock`, `vhost-device-vsock 0.3.0-2`. */
  description: string;
  device: Device;
  /** The address of a port of the guest. */
  address(port: number): string;
  /** The process that serves it, where there is one. */
  helper?: Helper;
  /** Ends what serves it in this process. */
  close?(): Promise<void>;
}

/** What keeps the host's kernel from serving vsock devices, or `undefined`. */
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

/** Makes the host's end, starting a process where the kernel does not do it. */
export async function startVsock(
  choice: VsockChoice,
  machine: Machine,
  run: RunFolder,
  progress: Progress,
): Promise<VsockBackend | undefined> {
  if (choice === 'none') return undefined;
  const problem = kernelVsockProblem();
  if (choice === 'mux') return multiplexerBackend(machine, run, progress);
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

/** Serves it in this process, and to others as a multiplexer would. */
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

/** Finds the vhost-device-vsock program: the installed one, else Debian's, from the cache. */
export async function findMultiplexer(
  progress?: Progress,
): Promise<{ program: string; description: string }> {
  const installed = findTool('vhost-device-vsock');
  if (installed !== undefined) return { program: installed, description: 'vhost-device-vsock' };
  const found = await fetchPackage('vhost-device-vsock', { suite: 'unstable', progress });
  return {
    program: join(found.folder, 'usr/bin/vhost-device-vsock'),
    description: `vhost-device-vsock ${found.version}`,
  };
}

async function multiplexerBackend(
  machine: Machine,
  run: RunFolder,
  progress: Progress,
): Promise<VsockBackend> {
  const { helper, description, socket, path } = await startMultiplexer(run, progress);
  return {
    kind: 'mux',
    description,
    device: vhostUserVsock(machine, socket),
    address: (port) => `vsock-mux:${path}:${port}`,
    helper,
  };
}

/** A vhost-device-vsock that waits for QEMU at `socket` and for programs at `path`. */
export interface ForeignMultiplexer {
  helper: Helper;
  description: string;
  socket: string;
  path: string;
}

/** Starts vhost-device-vsock for a guest with the context identifier 3. */
export async function startMultiplexer(
  run: RunFolder,
  progress: Progress,
): Promise<ForeignMultiplexer> {
  const { program, description } = await findMultiplexer(progress);
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
  return { helper, description, socket, path };
}
