import { rows } from '../bpf/index.js';
import { BtfTypes } from '../btf/index.js';
import type { Handle } from '../call.js';
import { isMissing, lacks, readFile } from './guest-file.js';
import type { BpfOptions, GuestKernel } from './guest-kernel.js';
import { GuestObject } from './guest-object.js';
import { type BtfInfo, readBtfInfo } from './info.js';
import { withLog } from './verifier-log.js';

/** Types in the guest's kernel: its own, those of a module, a program or a map. */
export class Btf extends GuestObject<'btf'> {
  readonly #about: BpfOptions = { subject: this };

  constructor(session: GuestKernel, handle: Handle, name = '') {
    super(session, handle, 'btf', name);
  }

  /** What the kernel says about the types (BPF_OBJ_GET_INFO_BY_FD, btf_get_info_by_fd()). */
  info(): Promise<BtfInfo> {
    return readBtfInfo(this.session, this, this.#about);
  }

  /**
   * The types themselves, read from the guest in one call.
   *
   * @param base the kernel's own types, where these are those of one of its modules
   */
  async types(base?: BtfTypes): Promise<BtfTypes> {
    const { sizeBytes } = await this.info();
    const values = { bpf_fd: this, info: { btf_size: sizeBytes } };
    const { info } = await this.session.bpf(rows.OBJ_GET_INFO_BY_FD_BTF, values, this.#about);
    return new BtfTypes(info.btf ?? new Uint8Array(0), base);
  }
}

/** Has types loaded; see {@link GuestKernel.loadBtf}. */
export async function loadBtf(session: GuestKernel, btf: Uint8Array): Promise<Btf> {
  const handle = await withLog(0, async (logLevel, logBytes) => {
    const log = logBytes === 0 ? {} : { btf_log_level: logLevel, btf_log_size: logBytes };
    return (await session.bpf(rows.BTF_LOAD, { btf, ...log })).handle;
  });
  return new Btf(session, handle);
}

const VMLINUX = '/sys/kernel/btf/vmlinux';

/** Reads the types of the guest's kernel; see {@link GuestKernel.kernelTypes}. */
export async function readKernelTypes(session: GuestKernel): Promise<BtfTypes> {
  for await (const info of session.btfs()) {
    if (!info.ofKernel || info.name !== 'vmlinux') continue;
    await using btf = await session.btf(info);
    return await btf.types();
  }
  // Before 5.11 the kernel's own types are no object yet, but a file.
  const bytes = await readFile(session, VMLINUX).catch((error) => {
    throw isMissing(error) ? lacks(session, 'types (BTF) of its own', error) : error;
  });
  return new BtfTypes(bytes);
}
