/* Facts about the guest that are needed before cases are made. */
import { buffer } from 'node:stream/consumers';
import type { Guest } from '../../../guest/index.js';
import { type BtfKind, BtfTypes } from '../../../src/btf/index.js';

/** Facts of one guest that are the same for both executors. */
export interface World {
  /** How many CPUs the guest can have. Per-CPU values are that many times as long. */
  readonly possibleCpus: number;
  /** The id of one of its kernel's types, or one that no type has. */
  typeId(kind: BtfKind, name: string): number;
  /** The name of one of its kernel's types. */
  typeName(id: number): string | undefined;
}

const NO_TYPE = 0x7ff_ffff;

/** Asks a guest for these facts. */
export async function worldOf(guest: Guest): Promise<World> {
  const possible = await guest.readFile('/sys/devices/system/cpu/possible');
  const reading = await guest.spawn(['cat', '/sys/kernel/btf/vmlinux']);
  reading.end();
  const types = new BtfTypes(await buffer(reading.stdout));
  return {
    possibleCpus: 1 + Number(possible.trim().split('-').at(-1)),
    typeId: (kind, name) => types.find(kind, name) ?? NO_TYPE,
    typeName: (id) => (id > 0 && id < types.length ? types.type(id).name : undefined),
  };
}
