/** AUDIT_ARCH_X86_64 of linux/audit.h. */
export const X86_64 = 0xc000003e;
/* Numbers of system calls on x86-64. */
export const BPF = 321;
export const EXECVE = 59;
