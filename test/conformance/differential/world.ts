/* Facts about the guest that are needed before cases are made. */
import { buffer } from 'node:stream/consumers';
import type { Guest } from '../../../guest/index.js';
import { type BtfKind, BtfTypes, functionOffsets } from '../../../src/btf/index.js';

/** A member of a structure: its index, and where it is in bytes. */
interface Member {
  readonly index: number;
  readonly offset: number;
}

/** A structure of the kernel's types. One that it lacks has no members. */
interface Structure {
  readonly id: number;
  readonly sizeBytes: number;
  member(name: string): Member;
}

/** Facts of one guest that are the same for both executors. */
export interface World {
  /** How many CPUs the guest can have. Per-CPU values are that many times as long. */
  readonly possibleCpus: number;
  /** The id of one of its kernel's types, or one that no type has. */
  typeId(kind: BtfKind, name: string): number;
  /** The name of one of its kernel's types. */
  typeName(id: number): string | undefined;
  /** One of its kernel's structures. */
  structure(name: string): Structure;
  /** Where the value of a map with this type of its kernel holds programs. */
  programOffsets(id: number): readonly number[];
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
    structure: (name) => structureIn(types, name),
    programOffsets: (id) => (id > 0 && id < types.length ? functionOffsets(types, id) : []),
  };
}

function structureIn(types: BtfTypes, name: string): Structure {
  const id = types.find('struct', name);
  const type = id === undefined ? undefined : types.type(id);
  const members = type?.kind === 'struct' ? type.members : [];
  return {
    id: id ?? NO_TYPE,
    sizeBytes: id === undefined ? 64 : types.sizeOf(id),
    member(name) {
      const index = Math.max(
        0,
        members.findIndex((one) => one.name === name),
      );
      return { index, offset: (members[index]?.offsetBits ?? 0) / 8 };
    },
  };
}
