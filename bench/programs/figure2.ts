/**
 * The thesis' Figure 2 program, assembled.
 *
 * Attached to `raw_tracepoint/sys_enter`, it takes the system call's number from `ctx->args[1]`
 * and, when that is execve, prints "Hello World!\n" into the kernel's trace log:
 *
 * ```c
 * SEC("raw_tracepoint/sys_enter")
 * int program(struct bpf_raw_tracepoint_args *ctx) {
 *   if (ctx->args[1] == __NR_execve) bpf_printk("Hello World!\n");
 *   return 0;
 * }
 * ```
 */

/** The raw tracepoint that the program belongs to. */
export const tracepoint = 'sys_enter';

/** The program's licence; `bpf_trace_printk` is reserved to GPL-compatible programs. */
export const license = 'GPL';

/** What the program prints, without the newline. */
export const message = 'Hello World!';

const execve = 59;
const tracePrintk = 6;

/** The program's instructions as the kernel takes them, 8 bytes each. */
export const instructions: Uint8Array = program(`${message}\n`);

type Register = 0 | 1 | 2 | 10;

function program(text: string): Uint8Array {
  const string = Buffer.alloc(16);
  const length = string.write(text) + 1;
  const print = [
    loadImmediate64(1, string.readBigInt64LE(0)),
    store64(10, -16, 1),
    loadImmediate64(1, string.readBigInt64LE(8)),
    store64(10, -8, 1),
    move(1, 10),
    add(1, -16),
    set(2, length),
    call(tracePrintk),
  ];
  const slots = Buffer.concat(print).length / 8;
  return Buffer.concat([
    load64(1, 1, 8),
    jumpUnlessEqual(1, execve, slots),
    ...print,
    set(0, 0),
    exit(),
  ]);
}

function instruction(
  opcode: number,
  destination: Register,
  source: Register,
  offset: number,
  immediate: number,
): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt8(opcode, 0);
  bytes.writeUInt8((source << 4) | destination, 1);
  bytes.writeInt16LE(offset, 2);
  bytes.writeInt32LE(immediate, 4);
  return bytes;
}

/** `destination = *(u64 *)(source + offset)` */
function load64(destination: Register, source: Register, offset: number): Buffer {
  return instruction(0x79, destination, source, offset, 0);
}

/** `*(u64 *)(destination + offset) = source` */
function store64(destination: Register, offset: number, source: Register): Buffer {
  return instruction(0x7b, destination, source, offset, 0);
}

/** `destination = value`, which takes two slots */
function loadImmediate64(destination: Register, value: bigint): Buffer {
  const low = Number(BigInt.asIntN(32, value));
  const high = Number(BigInt.asIntN(32, value >> 32n));
  return Buffer.concat([
    instruction(0x18, destination, 0, 0, low),
    instruction(0x00, 0, 0, 0, high),
  ]);
}

/** `destination = value` */
function set(destination: Register, value: number): Buffer {
  return instruction(0xb7, destination, 0, 0, value);
}

/** `destination = source` */
function move(destination: Register, source: Register): Buffer {
  return instruction(0xbf, destination, source, 0, 0);
}

/** `destination += value` */
function add(destination: Register, value: number): Buffer {
  return instruction(0x07, destination, 0, 0, value);
}

/** `if (register != value) skip the next slots` */
function jumpUnlessEqual(register: Register, value: number, slots: number): Buffer {
  return instruction(0x55, register, 0, slots, value);
}

function call(helper: number): Buffer {
  return instruction(0x85, 0, 0, 0, helper);
}

function exit(): Buffer {
  return instruction(0x95, 0, 0, 0, 0);
}
