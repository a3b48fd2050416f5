import { readlinkSync } from 'node:fs';
import type { Memory } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { systemError } from '../errors.js';
import { native } from '../native.js';
import { allocateBytes } from '../shared-block.js';
import type { Placeholders } from './placeholders.js';

const EFAULT = 14;

/** Up to here text is read at once; what is longer takes another turn. */
const TEXT_BYTES = 256;

/** The memory of the thread that made a call. */
export class ProcessMemory implements Memory {
  /** The process whose descriptors the call is about, where that is said in the call. */
  readonly pid: number;
  readonly #thread: number;
  readonly #placeholders: Placeholders;
  readonly #others = new Set<number>();

  constructor(thread: number, placeholders: Placeholders, pid = 0) {
    this.pid = pid;
    this.#thread = thread;
    this.#placeholders = placeholders;
  }

  read(address: bigint, length: number): Uint8Array {
    const bytes = allocateBytes(length);
    const got = length === 0 ? 0 : native.readMemory(this.#thread, address, bytes);
    return got === length ? bytes : bytes.subarray(0, Math.max(0, got));
  }

  extent(address: bigint, length: number): number {
    // Memory without holes is the rule; where there is one, writing to it fails.
    const last = address + BigInt(Math.max(0, length - 1));
    return this.read(last, 1).length === 1 ? length : this.read(address, length).length;
  }

  readText(address: bigint, maximumBytes: number): Uint8Array {
    let text: Uint8Array = new Uint8Array(0);
    while (text.length < maximumBytes) {
      const wanted = Math.min(TEXT_BYTES, maximumBytes - text.length);
      const more = this.read(address + BigInt(text.length), wanted);
      const end = more.indexOf(0) + 1;
      const kept = end === 0 ? more : more.subarray(0, end);
      text = text.length === 0 ? kept : Uint8Array.from(Buffer.concat([text, kept]));
      if (end !== 0 || more.length < wanted) break;
    }
    return text;
  }

  /** Returns whether all of it could be written. */
  write(address: bigint, bytes: Uint8Array): boolean {
    return native.writeMemory(this.#thread, address, bytes) === bytes.length;
  }

  /** @throws EFAULT when not all of it can be written */
  writeOrFault(address: bigint, bytes: Uint8Array): void {
    if (!this.write(address, bytes)) throw systemError('process_vm_writev', -EFAULT);
  }

  handleOf(descriptor: number): Handle {
    const handle = this.#placeholders.handleOf(this.pid || this.#thread, descriptor);
    // Standard streams have the numbers of fields that say nothing.
    if (handle === 0 && descriptor > 2) this.#others.add(descriptor);
    return handle;
  }

  /** What the descriptors are that a call named, and that stand for nothing in the guest. */
  others(): string[] {
    return [...this.#others].flatMap((descriptor) => {
      try {
        return [readlinkSync(`/proc/${this.pid || this.#thread}/fd/${descriptor}`)];
      } catch {
        return [];
      }
    });
  }

  isOpen(descriptor: number): boolean {
    return native.identify(this.pid || this.#thread, descriptor) >= 0;
  }
}
