import { rows } from '../bpf/index.js';
import type { GuestKernel } from './guest-kernel.js';
import { GuestObject } from './guest-object.js';

/** What a program is loaded from. */
export interface ProgramOptions {
  /** `BPF_PROG_TYPE_*`, such as `enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT`. */
  type: number;
  /** The instructions, 8 bytes each; map references hold handles where local ones hold fds. */
  instructions: Uint8Array;
  /** Decides which helpers the program may call. */
  license: string;
  /** At most 15 characters; shown by bpftool. */
  name?: string;
  /** `BPF_*` attach type, for the program types that want it at load time. */
  expectedAttachType?: number;
  /**
   * How much of the verifier's log to ask for: 1 explains refusals, 2 everything, 0 nothing.
   * Default 0, and a second attempt with 1 when the program is refused, as libbpf does.
   */
  logLevel?: number;
}

/** Room for the verifier's log when a program is refused: 64 KiB explains most refusals. */
const LOG_BYTES = 64 * 1024;

/** Has a program verified and loaded; see {@link GuestKernel.loadProgram}. */
export async function loadProgram(session: GuestKernel, options: ProgramOptions): Promise<Program> {
  const { type, instructions, license, name = '', expectedAttachType = 0 } = options;
  const values = {
    prog_type: type,
    insns: instructions,
    license,
    prog_name: name,
    expected_attach_type: expectedAttachType,
  };
  const load = async (logLevel: number) => {
    const log = logLevel === 0 ? {} : { log_level: logLevel, log_size: LOG_BYTES };
    const { handle } = await session.bpf(rows.PROG_LOAD, { ...values, ...log });
    return new Program(session, handle, 'prog');
  };
  if (options.logLevel !== undefined) return await load(options.logLevel);
  try {
    return await load(0);
  } catch (error) {
    if (!('errno' in (error as Error))) throw error;
    return await load(1);
  }
}

/** A program in the guest, verified and not yet attached. */
export class Program extends GuestObject<'prog'> {
  /**
   * Attaches the program to a raw tracepoint, such as `sys_enter` (BPF_RAW_TRACEPOINT_OPEN,
   * bpf_raw_tracepoint_open() in kernel/bpf/syscall.c). Closing the link detaches it.
   */
  async attachRawTracepoint(name: string): Promise<Link> {
    const { handle } = await this.session.bpf(rows.RAW_TRACEPOINT_OPEN, { name, prog_fd: this });
    return new Link(this.session, handle, 'link');
  }
}

/** The attachment of a program. Closing it detaches the program, unless it has been pinned. */
export class Link extends GuestObject<'link'> {}
