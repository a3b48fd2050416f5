import type { GuestFile } from '../../guest/index.js';
import { nativeFile } from '../../src/native.js';
import { bundleText } from '../guest-bundle.js';
import type { Spawn } from '../lab.js';
import { GuestWorker } from '../worker.js';
import { Measurer } from './client.js';
import type { ClientAnswer, ClientRequest } from './protocol.js';

const FOLDER = '/usr/lib/waep';
const PROGRAM = `${FOLDER}/bench-client.mjs`;

/** The files that a guest needs for {@link startGuestClient}. */
export async function guestClientFiles(): Promise<Record<string, GuestFile>> {
  return {
    [PROGRAM]: { text: await bundleText(new URL('./guest-main.js', import.meta.url)) },
    [`${FOLDER}/waep.node`]: { source: nativeFile('waep.node') },
  };
}

/** Starts a client in a guest. */
export async function startGuestClient(spawn: Spawn): Promise<Measurer> {
  const child = await spawn(['node', PROGRAM], { env: { WAEP_NATIVE_DIR: FOLDER } });
  const worker = new GuestWorker<ClientRequest, ClientAnswer>('The client in the guest', child);
  return new Measurer(worker);
}
