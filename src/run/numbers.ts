/** AUDIT_ARCH_X86_64 of linux/audit.h. */
export const X86_64 = 0xc000003e;
/** bpf(2) there. */
export const BPF = 321;
