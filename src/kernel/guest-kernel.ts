import type { Arguments, Command, Results } from '../bpf/index.js';
import type { Handle } from '../call.js';
import type { Caller } from '../session/caller.js';
import type { BpfCalls, BpfOptions, Outcome } from './bpf-calls.js';

/** The guest's kernel as the objects of the library use it. A {@link Session} is one. */
export interface GuestKernel extends Caller {
  /** The library's knowledge of the session's objects. */
  readonly calls: BpfCalls;

  /**
   * Makes one bpf(2) call in the guest from named values, and resolves with what the kernel wrote,
   * by the kernel's field names. For a command that returns a descriptor, `handle` names it.
   *
   * @example
   * ```ts
   * const { next_id } = await session.bpf(rows.PROG_GET_NEXT_ID, { start_id: 0 });
   * ```
   *
   * @param shape a row of the table, such as `rows.MAP_LOOKUP_ELEM`
   * @throws the guest's system error, with the verifier's log where there is one; ERR_BPF_* for
   *   values that do not fit; and what {@link call} throws
   */
  bpf<C extends Command>(
    shape: C,
    values: Arguments<C>,
    options?: BpfOptions,
  ): Promise<Results<C> & { handle: Handle; result: number }>;

  /**
   * Makes one bpf(2) call like {@link bpf}, for a caller to whom an errno is an answer: logs,
   * counts and partial batches are valid on many failures.
   *
   * @throws what {@link bpf} throws, but for the guest's system errors
   */
  tryBpf<C extends Command>(
    shape: C,
    values: Arguments<C>,
    options?: BpfOptions,
  ): Promise<Outcome<C>>;
}
