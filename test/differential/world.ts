/* What cases must know of the guest before they are written down. */
import type { Guest } from '../../guest/index.js';

/** Facts of one guest that are the same for both executors. */
export interface World {
  /** How many CPUs the guest can have: per-CPU values are as many times as long. */
  readonly possibleCpus: number;
}

/** Asks a guest. */
export async function worldOf(guest: Guest): Promise<World> {
  const possible = await guest.readFile('/sys/devices/system/cpu/possible');
  return { possibleCpus: 1 + Number(possible.trim().split('-').at(-1)) };
}
