/** AUDIT_ARCH_X86_64 of linux/audit.h. */
export const X86_64 = 0xc000003e;
/** The number of bpf(2) on x86-64. */
export const BPF = 321;
