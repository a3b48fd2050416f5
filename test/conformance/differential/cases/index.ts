/* All cases, by subject. */
import type { Case } from '../script.js';
import type { World } from '../world.js';
import { batchCases } from './batches.js';
import { idCases } from './ids.js';
import { linkCases } from './links.js';
import { mapCases } from './maps.js';
import { programCases } from './programs.js';
import { structOpsCases } from './struct-ops.js';

/** The parts of the suite, in the order in which they are run. */
export const parts = {
  maps: mapCases,
  batches: batchCases,
  programs: programCases,
  links: linkCases,
  'struct-ops': structOpsCases,
  ids: idCases,
} as const;

export type Part = keyof typeof parts;

/** Returns the cases for a guest: all, or those of some parts. */
export function casesOf(world: World, chosen = Object.keys(parts) as readonly Part[]): Case[] {
  return Object.entries(parts).flatMap(([name, cases]) =>
    chosen.includes(name as Part) ? cases(world) : [],
  );
}
