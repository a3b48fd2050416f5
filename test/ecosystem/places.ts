/* Where the ecosystem's programs run: one place for each transport. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { bundleForGuest } from '../../bench/guest-bundle.js';
import { bootNested, INNER_CID } from '../../bench/nested-guests.js';
import { sharedLibraries } from '../../guest/image/libraries.js';
import {
  type BootOptions,
  boot,
  type Guest,
  type GuestFile,
  type GuestProcess,
} from '../../guest/index.js';
import { nativeFile } from '../../src/native.js';
import { bridge, startFakeMux } from '../transport/fake-mux.js';
import { type ProgramReport, useAll } from './ecosystem-run.js';
import type { SshServer } from './hosts.js';
import { relay } from './programs.js';

const SCRIPT = '/usr/lib/waep/ecosystem.mjs';
const SSH = '/usr/bin/ssh';
const PG_PORT = 7400;
const SSH_PORT = 7401;
const env = { WAEP_NATIVE_DIR: '/usr/lib/waep', HOME: '/root' };
const module = new URL('ecosystem-run.js', import.meta.url);

/** What the programs need, and who is told how they went. */
export interface Errand {
  readonly report: (report: ProgramReport) => void;
  /** The names of the programs; all of them by default. */
  readonly only?: readonly string[];
  readonly postgres?: string | undefined;
  readonly sshd?: SshServer | undefined;
}

const proxyCommand = `${process.execPath} ${fileURLToPath(module)} --carry`;

function clientOptions({ only = [], sshd }: Errand) {
  return { only, ssh: sshd?.arguments, proxyCommand };
}

function upstreamArguments(pg: string | undefined, ssh: string | undefined): string[] {
  return [...(pg === undefined ? [] : ['--pg', pg]), ...(ssh === undefined ? [] : ['--ssh', ssh])];
}

/** Starts the programs' servers in a process of their own. */
async function startServers(template: string, errand: Errand): Promise<AsyncDisposable> {
  const upstream = upstreamArguments(errand.postgres, errand.sshd?.address);
  const args = [fileURLToPath(module), '--serve', template, ...upstream];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const first = await Promise.race([once(createInterface(child.stdout), 'line'), exited]);
  if (typeof first[0] !== 'string') throw new Error(`the servers ended: ${first.join(' ')}`);
  return {
    async [Symbol.asyncDispose]() {
      child.kill();
      await exited;
    },
  };
}

/** Over Unix sockets. */
export async function overUnix(errand: Errand): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'waep-'));
  try {
    await using _ = await startServers(`unix:${folder}/%`, errand);
    await useAll(`unix:${folder}/%`, errand.report, clientOptions(errand));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Over TCP. */
export async function overTcp(errand: Errand): Promise<void> {
  // Nobody else's, most likely; and if they are, that is said.
  const template = `tcp:127.0.0.1:%${20_000 + (process.pid % 400) * 100}`;
  await using _ = await startServers(template, errand);
  await useAll(template, errand.report, clientOptions(errand));
}

/** Over a multiplexer of the test's, with the manners of Firecracker. */
export async function overStandIn(errand: Errand): Promise<void> {
  await using mux = await startFakeMux(bridge);
  await using _ = await startServers(`unix:${join(mux.folder, 'guest_%')}`, errand);
  await useAll(`vsock-mux:${mux.path}:%`, errand.report, clientOptions(errand));
}

/** What a guest needs to run either end; `folder` keeps what is made for it. */
export async function ecosystemFiles(
  folder: string,
  sshd?: SshServer,
): Promise<Record<string, GuestFile>> {
  const files: Record<string, GuestFile> = {
    [SCRIPT]: { source: await bundleForGuest(module, folder, basename(SCRIPT)) },
    '/usr/lib/waep/waep.node': { source: nativeFile('waep.node') },
  };
  if (sshd === undefined) return files;
  for (const path of await sharedLibraries([SSH])) files[path] = { source: path, mode: 0o755 };
  files[SSH] = { source: SSH, mode: 0o755 };
  for (const path of sshd.files) files[path] = { source: path, mode: 0o600 };
  files['/etc/passwd'] = { text: 'root:x:0:0:root:/root:/bin/sh\n' };
  return files;
}

async function listening(servers: GuestProcess): Promise<void> {
  servers.stderr.pipe(process.stderr, { end: false });
  await Promise.race([
    once(createInterface(servers.stdout), 'line'),
    servers.ended.then((how) => Promise.reject(new Error(`they ended: ${JSON.stringify(how)}`))),
  ]);
}

/** Boots a guest in which the servers listen on vsock, with the host's servers behind it. */
export async function bootServers(
  errand: Errand,
  options: Omit<BootOptions, 'exec'>,
): Promise<Guest> {
  const guest = await boot({ agent: false, exec: true, memoryMib: 2048, ...options });
  try {
    const upstream: string[] = [];
    for (const [name, address, port] of [
      ['--pg', errand.postgres, PG_PORT],
      ['--ssh', errand.sshd?.address, SSH_PORT],
    ] as const) {
      if (address === undefined) continue;
      const server = relay(address).unref().listen(guest.vsock(port));
      // It ends with the guest's device.
      server.on('error', () => {});
      await once(server, 'listening');
      upstream.push(name, `vsock:host:${port}`);
    }
    const servers = await guest.spawn(['node', SCRIPT, '--serve', 'vsock:any:%', ...upstream], {
      env,
    });
    await listening(servers);
    return guest;
  } catch (error) {
    await guest.stop();
    throw error;
  }
}

/** From the host to a guest, by whichever transport it has. */
export async function fromHost(guest: Guest, errand: Errand): Promise<void> {
  const template = guest.vsock(7300).replace(/7300$/, '%');
  await useAll(template, errand.report, clientOptions(errand));
}

/** Between two processes of a guest. */
export async function inGuest(guest: Guest, errand: Errand): Promise<void> {
  const ssh = ['--proxy-command', `node ${SCRIPT} --carry`];
  ssh.push(...(errand.sshd?.arguments ?? []).map((argument) => `--ssh-argument=${argument}`));
  await useInGuest(guest, 'vsock:local:%', errand, ssh);
}

async function useInGuest(
  guest: Guest,
  template: string,
  { only = [], report }: Errand,
  more: readonly string[] = [],
): Promise<void> {
  const chosen = only.flatMap((name) => ['--only', name]);
  const clients = await guest.spawn(['node', SCRIPT, '--use', template, ...chosen, ...more], {
    env,
  });
  clients.stderr.pipe(process.stderr, { end: false });
  for await (const line of createInterface(clients.stdout)) report(JSON.parse(line));
}

/** From a guest to the one in it, the kernel's sockets on both ends. */
export async function intoNested(folder: string, errand: Errand): Promise<void> {
  await using nested = await bootNested(await ecosystemFiles(folder));
  await nested.up();
  await listening(await nested.spawnInner(['node', SCRIPT, '--serve', 'vsock:any:%']));
  await useInGuest(nested.outer, `vsock:${INNER_CID}:%`, errand);
}
