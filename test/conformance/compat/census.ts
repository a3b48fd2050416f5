import { rows } from '../../../src/bpf/index.js';
import type { Session } from '../../../src/index.js';

const kinds = {
  prog: rows.PROG_GET_NEXT_ID,
  map: rows.MAP_GET_NEXT_ID,
  link: rows.LINK_GET_NEXT_ID,
} as const;

/** A kind of object that a kernel lists. */
export type Kind = keyof typeof kinds;

/** Returns the ids of all objects of a kind in a session's kernel. */
export async function idsOf(session: Session, kind: Kind): Promise<number[]> {
  const ids: number[] = [];
  for (;;) {
    const next = await session.tryBpf(kinds[kind], { start_id: ids.at(-1) ?? 0 });
    if (next.result < 0) return ids;
    ids.push(next.values().next_id);
  }
}

/** Returns every object of a session's kernel, such as `prog 17`. */
export async function census(session: Session): Promise<Set<string>> {
  const all = new Set<string>();
  for (const kind of Object.keys(kinds) as Kind[]) {
    for (const id of await idsOf(session, kind)) all.add(`${kind} ${id}`);
  }
  return all;
}
