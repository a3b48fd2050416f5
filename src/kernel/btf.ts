import { rows } from '../bpf/index.js';
import { BtfTypes } from '../btf/index.js';
import type { Handle } from '../call.js';
import type { Patience } from '../session/caller.js';
import { type BpfOptions, patient } from './bpf-calls.js';
import { isMissing, lacks, readFile } from './guest-file.js';
import type { GuestKernel } from './guest-kernel.js';
import { GuestObject } from './guest-object.js';
import { type BtfInfo, readBtfInfo } from './info.js';
import { each, open } from './objects.js';
import { withLog } from './verifier-log.js';

/** Types in the guest's kernel: its own, those of a module, a program or a map. */
export class Btf extends GuestObject<'btf'> {
  readonly #about: BpfOptions = { subject: this };

  constructor(session: GuestKernel, handle: Handle, name = '') {
    super(session, handle, 'btf', name);
  }

  /**
   * Returns the kernel's information about the types (BPF_OBJ_GET_INFO_BY_FD,
   * btf_get_info_by_fd()).
   */
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

/** Loads types; see {@link Session.loadBtf}. */
export async function loadBtf(
  session: GuestKernel,
  btf: Uint8Array,
  patience?: Patience,
): Promise<Btf> {
  const about = patient({}, patience);
  const handle = await withLog(0, async (logLevel, logBytes) => {
    const log = logBytes === 0 ? {} : { btf_log_level: logLevel, btf_log_size: logBytes };
    return (await session.bpf(rows.BTF_LOAD, { btf, ...log }, about)).handle;
  });
  return new Btf(session, handle);
}

const VMLINUX = '/sys/kernel/btf/vmlinux';

/** Opens types that are there already; see {@link Session.btf}. */
export async function openBtf(session: GuestKernel, id: number, patience?: Patience): Promise<Btf> {
  return new Btf(session, await open(session, 'btf', { id }, { patience }));
}

const fetched = new WeakMap<GuestKernel, Promise<BtfTypes>>();

/** The types of the guest's kernel, which are fetched once; see {@link Session.kernelTypes}. */
export function kernelTypes(session: GuestKernel): Promise<BtfTypes> {
  const known = fetched.get(session);
  if (known !== undefined) return known;
  const types = readKernelTypes(session).catch((error: unknown) => {
    fetched.delete(session);
    throw error;
  });
  fetched.set(session, types);
  return types;
}

async function readKernelTypes(session: GuestKernel): Promise<BtfTypes> {
  for await (const info of each(session, 'btf', 0, (btf) => readBtfInfo(session, btf))) {
    if (!info.ofKernel || info.name !== 'vmlinux') continue;
    await using btf = await openBtf(session, info.id);
    return await btf.types();
  }
  // Before 5.11 the kernel's own types are no object yet, but a file.
  const bytes = await readFile(session, VMLINUX).catch((error) => {
    throw isMissing(error) ? lacks(session, 'types (BTF) of its own', error) : error;
  });
  return new BtfTypes(bytes);
}
