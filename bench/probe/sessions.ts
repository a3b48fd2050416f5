import {
  type Encoded,
  encode,
  enums,
  type Facts,
  type MapFacts,
  rows,
} from '../../src/bpf/index.js';
import type { Handle } from '../../src/call.js';
import { Session } from '../../src/session/index.js';
import { lookupValueBytes } from '../metrics.js';

/** The map that values are looked up in. */
export const lookupMap: MapFacts = {
  type: enums.MapType.BPF_MAP_TYPE_ARRAY,
  keySize: 4,
  valueSize: lookupValueBytes,
  maxEntries: 1,
  flags: 0,
};

/** A session that stays open for as long as the probe lives, with a map to look values up in. */
export interface ProbeSession {
  session: Session;
  map: { handle: Handle };
  facts: Facts;
}

const sessions = new Map<string, ProbeSession>();

/** The session with the agent at `address`, opened when it is first asked for. */
export async function sessionWith(address: string): Promise<ProbeSession> {
  const found = sessions.get(address);
  if (found !== undefined) return found;
  const session = await Session.connect(address, { client: 'waep bench' });
  const map = { handle: session.newHandle() };
  const facts = {
    mapFacts: (handle: Handle) => (handle === map.handle ? lookupMap : undefined),
    possibleCpus: session.kernel.possibleCpus,
  };
  const create = encode(
    rows.MAP_CREATE,
    {
      map_type: lookupMap.type,
      key_size: lookupMap.keySize,
      value_size: lookupMap.valueSize,
      max_entries: lookupMap.maxEntries,
    },
    facts,
    map.handle,
  );
  await succeed(session, create);
  // A value of zeroes would be left out of the answers.
  const value = new Uint8Array(lookupMap.valueSize).fill(0x5a);
  const key = new Uint8Array(lookupMap.keySize);
  await succeed(session, encode(rows.MAP_UPDATE_ELEM, { map_fd: map, key, value }, facts));
  const made = { session, map, facts };
  sessions.set(address, made);
  return made;
}

async function succeed(session: Session, encoded: Encoded): Promise<void> {
  const reply = await session.call(encoded.call);
  if (reply.result < 0) throw encoded.error(reply);
}
