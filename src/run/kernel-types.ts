/* The types (BTF) of the guest's kernel and of its modules, by their names. */
import { BtfTypes } from '../btf/index.js';
import { OWN_TYPES } from '../kernel/struct-ops.js';
import type { GuestFiles } from '../view/index.js';

/** Reads each of them once, when it is needed. */
export class KernelTypes {
  readonly #files: GuestFiles;
  readonly #read = new Map<string, Promise<BtfTypes>>();

  constructor(files: GuestFiles) {
    this.#files = files;
  }

  /** @param name `vmlinux` for the kernel's own types, or the name of a module */
  named(name: string = OWN_TYPES): Promise<BtfTypes> {
    const known = this.#read.get(name);
    if (known !== undefined) return known;
    const types = this.#readFrom(name).catch((error: unknown) => {
      this.#read.delete(name);
      throw error;
    });
    this.#read.set(name, types);
    return types;
  }

  async #readFrom(name: string): Promise<BtfTypes> {
    const base = name === OWN_TYPES ? undefined : await this.named();
    return new BtfTypes(await this.#files.bytes(`/sys/kernel/btf/${name}`), base);
  }
}
