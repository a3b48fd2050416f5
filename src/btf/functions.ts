import { failure } from '../errors.js';
import type { BtfTypes } from './btf.js';
import type { TypeId } from './types.js';

/** Structures of operations have dozens of members. Types that contain themselves have no end. */
const MAX_MEMBERS = 4096;

/**
 * Returns the ascending byte offsets of the pointers to functions in a structure, including its
 * inner structures. For the value type of a STRUCT_OPS map, these are the offsets of its programs
 * (`programOffsets` of the map's spec).
 *
 * @throws ERR_BTF_TYPE when the structure has more than 4,096 members, inner ones included
 */
export function functionOffsets(types: BtfTypes, id: TypeId): number[] {
  const offsets: number[] = [];
  let members = 0;
  const collect = (inner: TypeId, base: number): void => {
    const type = types.resolve(inner);
    if (type.kind !== 'struct') return;
    for (const member of type.members) {
      if (++members > MAX_MEMBERS) {
        throw failure('ERR_BTF_TYPE', {
          type: String(id),
          why: `it has more than ${MAX_MEMBERS} members, inner ones included`,
          cure: 'Check that the types come from the kernel that the map is for.',
        });
      }
      const offset = base + member.offsetBits / 8;
      const of = types.resolve(member.type);
      if (of.kind === 'struct') collect(of.id, offset);
      if (of.kind === 'ptr' && types.resolve(of.type).kind === 'func_proto') offsets.push(offset);
    }
  };
  collect(id, 0);
  return offsets;
}
