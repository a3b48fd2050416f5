import { enums } from '../../src/bpf/index.js';
import type { KeyedMap } from '../../src/kernel/index.js';
import { Session } from '../../src/session.js';
import { lookupKeyBytes, lookupValueBytes } from '../metrics.js';

/** The map that values are looked up in. */
export const lookupMap = {
  type: enums.MapType.BPF_MAP_TYPE_HASH,
  keySize: lookupKeyBytes,
  valueSize: lookupValueBytes,
  maxEntries: 1,
  flags: 0,
};

/** The key of the map's only element. */
export const lookupKey = new Uint8Array(lookupKeyBytes).fill(0xa5);

/** An emulated guest on a busy machine, or in another guest, takes its time. */
export const patience = { handshakeTimeoutMs: 60_000, callTimeoutMs: 60_000 };

/** A session that stays open for as long as its transport does, with a map to look values up in. */
export interface ClientSession {
  session: Session;
  map: KeyedMap;
}

const sessions = new Map<string, ClientSession>();

/** The session with the agent at `address`, opened when there is none. */
export async function sessionWith(address: string): Promise<ClientSession> {
  const found = sessions.get(address);
  // A guest's driver that changes to another device ends those of the first.
  if (found !== undefined && !found.session.closed) return found;
  const made = await openSession(address);
  sessions.set(address, made);
  return made;
}

/** A session that belongs to the caller, with the same map. */
export async function openSession(address: string): Promise<ClientSession> {
  const session = await Session.connect(address, { client: 'waep bench', ...patience });
  const map = await session.createMap(lookupMap);
  // A value of zeroes would be left out of the answers.
  await map.update(lookupKey, new Uint8Array(lookupValueBytes).fill(0x5a));
  return { session, map };
}
