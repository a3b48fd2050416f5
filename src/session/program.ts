import { rows } from '../bpf/index.js';
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
