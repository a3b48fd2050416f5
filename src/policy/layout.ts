/** Where `union bpf_attr` has a program's instructions, and how a record of them is masked. */
export const INSTRUCTION = { pointer: 8, count: 4, mask: 0xf0ff } as const;
/** Instructions by opcode and src_reg, as the little-endian words that they are. */
export const HELPER_CALL = 0x0085;
export const KFUNC_CALL = 0x2085;
export const LOAD_MAP = 0x1018;
export const LOAD_MAP_VALUE = 0x2018;
/** The immediate of an instruction, and its offset. */
export const IMMEDIATE = { shift: 32, bits: 32 } as const;
export const OFFSET = { shift: 16, bits: 16 } as const;

/** Where `struct perf_event_attr` has what rules are about. */
export const PERF_TYPE = 0;
export const PERF_CONFIG = 8;
export const PERF_FLAGS_HIGH = 44;
export const PERF_CONFIG1 = 56;
