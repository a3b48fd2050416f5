import { enums, type Ref, rows } from '../bpf/index.js';
import type { Handle } from '../call.js';
import type { Patience } from '../session/caller.js';
import type { BpfOptions } from './bpf-calls.js';
import type { GuestKernel } from './guest-kernel.js';
import { PinnableObject } from './guest-object.js';
import { type LinkInfo, readLinkInfo } from './info.js';
import { KernelIterator } from './iterator.js';
import { open, type Where } from './objects.js';

/**
 * The attachment of a program. Closing it detaches the program, unless it has been pinned; so does
 * the end of its session. A link that no variable refers to stays.
 */
export class Link extends PinnableObject<'link'> {
  readonly #about: BpfOptions = { subject: this };

  constructor(session: GuestKernel, handle: Handle, name = '') {
    super(session, handle, 'link', name, true);
  }

  /**
   * Puts another program in place of the attached one, with no moment in between without one
   * (BPF_LINK_UPDATE, link_update() in kernel/bpf/syscall.c). cgroup, tcx, netkit, XDP and network
   * namespace links can; those of tracing programs cannot.
   *
   * @param replaces the program that has to be attached until then, or any
   * @throws EINVAL where the type of link cannot, EPERM when another program is attached
   */
  async update(program: Ref<'prog'>, replaces?: Ref<'prog'>): Promise<void> {
    const values = { link_fd: this, new_prog_fd: program };
    const { BPF_F_REPLACE } = enums.AttachFlag;
    const old = replaces === undefined ? {} : { flags: BPF_F_REPLACE, old_prog_fd: replaces };
    await this.session.bpf(rows.LINK_UPDATE, { ...values, ...old }, this.#about);
  }

  /**
   * Detaches the program and leaves the link without one (BPF_LINK_DETACH, link_detach() in
   * kernel/bpf/syscall.c): also what is pinned, or held by others, is then without effect.
   *
   * @throws EOPNOTSUPP for links that only closing ends, such as those of tracing programs
   */
  async detach(): Promise<void> {
    await this.session.bpf(rows.LINK_DETACH, { link_fd: this }, this.#about);
  }

  /**
   * Runs the attached iterator program from the beginning (BPF_ITER_CREATE, bpf_iter_new_fd() in
   * kernel/bpf/bpf_iter.c): what it writes is read from the result.
   *
   * @throws EINVAL when the link is not that of an iterator
   */
  async iterate(): Promise<KernelIterator> {
    const { handle } = await this.session.bpf(rows.ITER_CREATE, { link_fd: this }, this.#about);
    return new KernelIterator(this.session, handle, this.name);
  }

  /**
   * Returns the kernel's information about the link (BPF_OBJ_GET_INFO_BY_FD,
   * bpf_link_get_info_by_fd()).
   */
  info(): Promise<LinkInfo> {
    return readLinkInfo(this.session, this, this.#about);
  }
}

/** Opens a link that is there already; see {@link Session.link}. */
export async function openLink(
  session: GuestKernel,
  where: Where,
  patience: Patience,
): Promise<Link> {
  return new Link(session, await open(session, 'link', where, { patience }));
}
