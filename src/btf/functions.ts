import type { BtfTypes } from './btf.js';
import type { TypeId } from './types.js';

/**
 * Returns the ascending byte offsets of the pointers to functions in a structure, including its
 * inner structures. For the value type of a STRUCT_OPS map, these are the offsets of its programs
 * (`programOffsets` of the map's spec).
 */
export function functionOffsets(types: BtfTypes, id: TypeId): number[] {
  const offsets: number[] = [];
  collect(types, id, 0, offsets);
  return offsets;
}

function collect(types: BtfTypes, id: TypeId, base: number, offsets: number[]): void {
  const type = types.resolve(id);
  if (type.kind !== 'struct') return;
  for (const member of type.members) {
    const offset = base + member.offsetBits / 8;
    const of = types.resolve(member.type);
    if (of.kind === 'struct') collect(types, of.id, offset, offsets);
    if (of.kind === 'ptr' && types.resolve(of.type).kind === 'func_proto') offsets.push(offset);
  }
}
