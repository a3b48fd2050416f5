/* Guests of several kernels at a time, each with TCP and the in-process device. */
import { join } from 'node:path';
import { boot, buildImage, type Guest, type KernelChoice, type Progress } from '../guest/index.js';
import { vhostUserVsock } from '../guest/vm/qemu/devices.js';
import { makeRunFolder } from '../guest/vm/rundir.js';
import { Client } from './client/client.js';
import { compilePrograms } from './compile.js';
import type { Disposables } from './disposables.js';
import { type GuestEnvironment, guestEnvironment } from './environment.js';
import { spawnerIn, startPingpong } from './guest-lab.js';

/** The suites of the Debian archive whose kernels are compared: 5.10, 6.1, 6.12 and 7.x. */
export const kernelSuites = ['bullseye', 'bookworm', 'trixie', 'sid'] as const;

const PINGPONG = '/bin/waep-pingpong';
const PINGPONG_PORT = 1025;

/** A guest with the plain C ping-pong server in it, and the process that measures. */
export interface KernelGuest {
  readonly suite: string;
  readonly environment: GuestEnvironment;
  readonly client: Client;
  /** The server's addresses. */
  readonly pingpong: { readonly tcp: string; readonly 'vsock-device': string };
}

/** Gets what the guests need, over the network where it is not there yet. */
export async function prepareKernels(
  suites: readonly string[],
  progress?: Progress,
): Promise<void> {
  await compilePrograms();
  for (const suite of suites) await buildImage({ kernel: { suite }, progress });
}

/** Boots a guest for each suite, one after the other. They end when `resources` are disposed of. */
export async function bootKernels(
  suites: readonly string[],
  resources: Disposables,
): Promise<KernelGuest[]> {
  const guests: KernelGuest[] = [];
  for (const suite of suites) guests.push(await bootKernel(suite, { suite }, resources));
  return guests;
}

async function bootKernel(
  suite: string,
  kernel: KernelChoice,
  resources: Disposables,
): Promise<KernelGuest> {
  const { pingpong } = await compilePrograms();
  const folder = makeRunFolder();
  resources.use({ [Symbol.asyncDispose]: async () => folder.remove() });
  const client = resources.use(new Client());
  const socket = join(folder.path, 'vhost.sock');
  const path = join(folder.path, 'vsock');
  await client.openDevice({ socket, path, guestCid: 3 });
  const guest: Guest = resources.use(
    await boot({
      kernel,
      agent: false,
      exec: true,
      network: 'auto',
      vsock: 'none',
      devices: (machine) => [vhostUserVsock(machine, socket)],
      ports: [PINGPONG_PORT],
      files: { [PINGPONG]: { source: pingpong, mode: 0o755 } },
      deadlineMs: 180_000,
      notice: () => {},
    }),
  );
  for (const listen of [`tcp:0.0.0.0:${PINGPONG_PORT}`, `vsock:any:${PINGPONG_PORT}`]) {
    await startPingpong(spawnerIn(guest), PINGPONG, listen);
  }
  return {
    suite,
    environment: guestEnvironment(guest, 'in-process device'),
    client,
    pingpong: {
      tcp: guest.tcp(PINGPONG_PORT),
      'vsock-device': `vsock-device:${path}:${PINGPONG_PORT}`,
    },
  };
}
