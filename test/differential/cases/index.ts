/* All cases. */
import type { Case } from '../script.js';
import type { World } from '../world.js';
import { mapCases } from './maps.js';

/** The cases for a guest, in the order in which they are run. */
export function allCases(world: World): Case[] {
  return [...mapCases(world)];
}
