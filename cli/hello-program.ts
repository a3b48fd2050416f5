import { enums, insn } from '../src/bpf/index.js';

const { alu, call, exit, jumpIf, label, load, mov, program, storeBytes } = insn;

/** The raw tracepoint that the program attaches to. */
export const tracepoint = 'sys_enter';

/** What the program prints, without the newline. */
export const message = 'Hello World!';

const execve = 59;
const text = Buffer.from(`${message}\n\0`);

/**
 * The instructions of the program in the thesis' Figure 2.
 *
 * Attached to `raw_tracepoint/sys_enter`, the program reads the system call's number from
 * `ctx->args[1]`. If the number is that of execve, it prints "Hello World!\n" into the kernel's
 * trace log:
 *
 * ```c
 * SEC("raw_tracepoint/sys_enter")
 * int program(struct bpf_raw_tracepoint_args *ctx) {
 *   if (ctx->args[1] == __NR_execve) bpf_printk("Hello World!\n");
 *   return 0;
 * }
 * ```
 */
export const instructions: Uint8Array = program(
  load(8, 'r1', 'r1', 8),
  jumpIf('ne', 'r1', execve, 'out'),
  storeBytes(-16, text, 'r1'),
  mov('r1', 'r10'),
  alu('add', 'r1', -16),
  mov('r2', text.length),
  call(enums.Helper.BPF_FUNC_trace_printk),
  label('out'),
  mov('r0', 0),
  exit(),
);
