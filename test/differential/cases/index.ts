/* All cases. */
import type { Case } from '../script.js';
import type { World } from '../world.js';
import { batchCases } from './batches.js';
import { idCases } from './ids.js';
import { linkCases } from './links.js';
import { mapCases } from './maps.js';
import { programCases } from './programs.js';

/** The cases for a guest, in the order in which they are run. */
export function allCases(world: World): Case[] {
  return [mapCases, batchCases, programCases, linkCases, idCases].flatMap((cases) => cases(world));
}
