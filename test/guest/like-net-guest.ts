/* The observations of ../transport/like-net.ts with a guest. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { bundleForGuest } from '../../bench/guest-bundle.js';
import type { Guest, GuestFile } from '../../guest/index.js';
import { nativeFile } from '../../src/native.js';
import {
  behaviours,
  differenceHere,
  observed,
  type TableTransport,
} from '../transport/like-net.js';
import { compare, compareSeen, nodeKit, transportKit } from '../transport/like-net-kits.js';
import type { Observation } from '../transport/like-net-run.js';

const SCRIPT = '/usr/lib/waep/like-net.mjs';
const env = { WAEP_NATIVE_DIR: '/usr/lib/waep' };
const FIRST_PORT = 9000;
const PORTS = 200;
const PORT_OF_NOBODY = FIRST_PORT - 1;

/** What a guest needs for either. `t` removes it from this machine. */
export async function likeNetFiles(t: Test): Promise<Record<string, GuestFile>> {
  const folder = mkdtempSync(join(tmpdir(), 'waep-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const module = new URL('../transport/like-net-run.js', import.meta.url);
  return {
    [SCRIPT]: { source: await bundleForGuest(module, folder, basename(SCRIPT)) },
    '/usr/lib/waep/waep.node': { source: nativeFile('waep.node') },
  };
}

/**
 * Compares both ends of the host's transport to a guest, which sends each connection back.
 *
 * @param halfClose whether the transport passes the end of one direction on, both ways
 */
export async function fromHost(
  t: Test,
  guest: Guest,
  transport: TableTransport,
  { halfClose }: { halfClose: boolean },
): Promise<void> {
  const ports = ['--mirror', `${FIRST_PORT}`, '--count', `${PORTS}`];
  const how = halfClose ? ['--half-close'] : [];
  const mirror = await guest.spawn(['node', SCRIPT, ...ports, ...how], { env });
  mirror.stderr.pipe(process.stderr, { end: false });
  await Promise.race([
    once(createInterface(mirror.stdout), 'line'),
    mirror.ended.then((end) => Promise.reject(new Error(`it ended: ${JSON.stringify(end)}`))),
  ]);
  let port = FIRST_PORT;
  const ours = transportKit({
    next() {
      const dialled = port++;
      return { listen: guest.vsock(dialled + PORTS), dial: () => guest.vsock(dialled) };
    },
    nobody: guest.vsock(PORT_OF_NOBODY),
  });
  await compare(t, transport, nodeKit(), ours, !halfClose);
}

/** Compares the kernel's sockets of a guest, both ends in one process there. */
export async function withinGuest(t: Test, guest: Guest): Promise<void> {
  const suite = await guest.spawn(['node', SCRIPT, '--observe'], { env });
  suite.stderr.pipe(process.stderr, { end: false });
  const seen = new Map<string, string>();
  for await (const line of createInterface(suite.stdout)) {
    const observation = JSON.parse(line) as Observation;
    seen.set(observation.behaviour, observation.seen);
  }
  t.same(await suite.ended, { status: 0, signal: null });
  for (const behaviour of behaviours) {
    if (behaviour.observe === undefined) continue;
    const reference = await observed(behaviour, nodeKit());
    compareSeen(
      t,
      behaviour,
      differenceHere(behaviour, 'vsock'),
      reference,
      seen.get(behaviour.name),
    );
  }
}
