import { type FdKind, type Ref, rows } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { failure } from '../errors.js';
import type { Patience } from '../session/caller.js';
import type { GuestKernel } from './guest-kernel.js';

/**
 * Something that a session holds in the guest's kernel. It lives until it is closed, or until its
 * session ends; the kernel frees it once nothing else holds it either.
 *
 * Close it with {@link close} or `await using`. As a safety net, what no variable refers to any
 * more is closed some time after JavaScript has collected it. Links and other objects that are
 * effects stay until they are closed, or until the session ends; and what an object was made with
 * stays as long as that object: the maps of a program, the program of a link.
 */
export class GuestObject<K extends FdKind = FdKind> implements Ref<K> {
  /** The session that the object belongs to. */
  readonly session: GuestKernel;
  /** The kind of the object. */
  readonly kind: K;
  /** The name it was given, or `''`. */
  readonly name: string;
  readonly #handle: Handle;
  #closed = false;

  /** @param effect whether its existence is what it is for, so that only closing ends it */
  constructor(session: GuestKernel, handle: Handle, kind: K, name = '', effect = false) {
    this.session = session;
    this.#handle = handle;
    this.kind = kind;
    this.name = name;
    if (!effect) session.calls.collected.register(this, handle, this);
  }

  /**
   * What the object is called on the wire.
   *
   * @throws ERR_OBJECT_CLOSED once it has been closed: it can be used for nothing any more
   */
  get handle(): Handle {
    if (this.#closed && !this.session.closed)
      throw failure('ERR_OBJECT_CLOSED', { object: this.toString() });
    return this.#handle;
  }

  /** Whether it has been closed, or its session has ended. */
  get closed(): boolean {
    return this.#closed || this.session.closed;
  }

  /**
   * Lets go of the object (close(2) of its descriptor in the guest). Idempotent; without effect
   * once the session has ended.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.session.calls.collected.unregister(this);
    if (!this.session.closed) await this.session.release([this.#handle]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Its name in errors: `map "counts"`, or `prog (handle 3)` if it has no name. */
  toString(): string {
    return this.name === ''
      ? `${this.kind} (handle ${this.#handle})`
      : `${this.kind} "${this.name}"`;
  }
}

/** An object that outlives its session once it has a path in a bpf file system of the guest. */
export class PinnableObject<K extends 'map' | 'prog' | 'link'> extends GuestObject<K> {
  /**
   * Gives the object a path in a mounted bpf file system of the guest, such as
   * `/sys/fs/bpf/counts`, where it stays until the path is removed there (BPF_OBJ_PIN,
   * bpf_obj_pin_user() in kernel/bpf/inode.c).
   *
   * @throws EEXIST, ENOENT, EPERM outside of a bpf file system; ERR_POLICY_REFUSED
   */
  async pin(path: string): Promise<void> {
    const values = { pathname: path, bpf_fd: this as PinnableObject<'map' | 'prog' | 'link'> };
    const subject = { toString: () => `${this} at ${path}` };
    await this.session.bpf(rows.OBJ_PIN, values, { subject });
  }
}

/** Kinds of objects that are files or folders of the guest. */
export type FileKind = Extract<
  FdKind,
  'cgroup' | 'netns' | 'directory' | 'pidfd' | 'lirc' | 'file'
>;

/** Opens a file or a folder that calls refer to by descriptor; see {@link Session.openObject}. */
export async function openObject<K extends FileKind>(
  session: GuestKernel,
  kind: K,
  path: string,
  patience?: Patience,
): Promise<GuestObject<K>> {
  return new GuestObject(session, await session.open(path, patience), kind, path);
}
