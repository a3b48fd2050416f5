import type { FdKind, Ref } from '../bpf/index.js';
import type { Handle } from '../call.js';
import type { GuestKernel } from './guest-kernel.js';

/**
 * Something that a session holds in the guest's kernel. It lives until it is closed, or until its
 * session ends; the kernel frees it once nothing else holds it either.
 */
export class GuestObject<K extends FdKind = FdKind> implements Ref<K> {
  readonly session: GuestKernel;
  readonly handle: Handle;
  readonly kind: K;
  #closed = false;

  constructor(session: GuestKernel, handle: Handle, kind: K) {
    this.session = session;
    this.handle = handle;
    this.kind = kind;
  }

  /** Lets go of the object. Idempotent; without effect once the session has ended. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.session.closed) await this.session.release([this.handle]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
