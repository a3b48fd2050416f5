import { once } from 'node:events';
import { join } from 'node:path';
import { compileStatic, type Guest, type GuestFile } from '../../guest/index.js';
import { packageFolder } from '../../src/paths.js';

const ECHO = '/bin/waep-echo';

/** What the guest needs for {@link startEcho} and {@link startPouring}. */
export async function echoFiles(): Promise<Record<string, GuestFile>> {
  const source = await compileStatic(join(packageFolder, 'test/device/echo.c'));
  return { [ECHO]: { source, mode: 0o755 } };
}

/** Resolves when the guest sends back what comes to a port of its. */
export async function startEcho(guest: Guest, port: number): Promise<void> {
  await start(guest, [String(port)]);
}

/** Resolves when the guest sends without an end on so many connections to a port of the host. */
export async function startPouring(guest: Guest, port: number, connections: number): Promise<void> {
  await start(guest, [String(port), String(connections)]);
}

async function start(guest: Guest, args: readonly string[]): Promise<void> {
  const program = await guest.spawn([ECHO, ...args]);
  let words = '';
  program.stderr.on('data', (text) => {
    words += text;
  });
  await Promise.race([
    once(program.stdout, 'data'),
    program.ended.then(() => Promise.reject(new Error(`the guest's peer ended: ${words}`))),
  ]);
}
