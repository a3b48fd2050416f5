/* Where the values of STRUCT_OPS maps hold programs. */
import { type BtfTypes, functionOffsets } from '../btf/index.js';
import { openBtf } from './btf.js';
import type { GuestKernel } from './guest-kernel.js';

/** The fields of the kernel's information about a map that name the type of its value. */
export interface StructOpsInfo {
  /** The number of the type. */
  readonly btf_vmlinux_value_type_id: number;
  /** The id of the types (BTF) that it is one of. Kernels before 6.9 have only their own types. */
  readonly btf_vmlinux_id?: number;
}

/** The name of the kernel's own types. Those of a module have the name of the module. */
export const OWN_TYPES = 'vmlinux';

/**
 * Returns the offsets of the programs in the value of a STRUCT_OPS map: `programOffsets` of its
 * spec.
 *
 * @param typesOf returns the types of the guest's kernel, or of one of its modules, by their name
 */
export async function programOffsetsOf(
  session: GuestKernel,
  { btf_vmlinux_value_type_id: type, btf_vmlinux_id: id = 0 }: StructOpsInfo,
  typesOf: (name: string) => Promise<BtfTypes>,
): Promise<readonly number[]> {
  return functionOffsets(await typesOf(await nameOf(session, id)), type);
}

async function nameOf(session: GuestKernel, id: number): Promise<string> {
  if (id === 0) return OWN_TYPES;
  await using btf = await openBtf(session, id);
  return (await btf.info()).name;
}
