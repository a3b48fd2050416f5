import { readlinkSync } from 'node:fs';
import type { Memory, Write } from '../bpf/index.js';
import type { Handle } from '../call.js';
import { systemError } from '../errors.js';
import { native } from '../native.js';
import { allocateBytes } from '../shared-block.js';
import type { Notification } from './notification.js';
import type { Placeholders } from './placeholders.js';

const EFAULT = 14;

/** How many bytes of a text are read at once. A longer text is read in several steps. */
const TEXT_BYTES = 256;

/**
 * The memory of the thread that made a call. The caller may use what it read only if the call still
 * waits after the reading ({@link Notification.waits}): until then the thread's id was not reused.
 */
export class ProcessMemory implements Memory {
  /** The process whose descriptors the call is about, if the call names one. */
  readonly pid: number;
  readonly #call: Notification;
  readonly #placeholders: Placeholders;
  readonly #others = new Set<number>();
  readonly #replaced = new Map<number, Handle>();

  constructor(call: Notification, placeholders: Placeholders, pid = 0) {
    this.pid = pid;
    this.#call = call;
    this.#placeholders = placeholders;
  }

  read(address: bigint, length: number): Uint8Array {
    const bytes = allocateBytes(length);
    const got = length === 0 ? 0 : native.readMemory(this.#call.thread, address, bytes);
    return got === length ? bytes : bytes.subarray(0, Math.max(0, got));
  }

  extent(address: bigint, length: number): number {
    // Usually the memory has no holes. If it has one, writing to the hole fails.
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

  /**
   * Writes parts in order, if the call still waits. Returns whether all were written. It never
   * writes to another process that has got the thread's id.
   */
  writeAll(parts: readonly Write[]): boolean {
    const sizeBytes = parts.reduce((sum, { bytes }) => sum + bytes.length, 0);
    return sizeBytes === 0 || this.#call.write(parts) === sizeBytes;
  }

  /** Like {@link writeAll}, for one part. */
  write(address: bigint, bytes: Uint8Array): boolean {
    return this.writeAll([{ address, bytes }]);
  }

  /** @throws EFAULT when the bytes cannot be written completely */
  writeOrFault(address: bigint, bytes: Uint8Array): void {
    if (!this.write(address, bytes)) throw systemError('write', -EFAULT);
  }

  handleOf(descriptor: number): Handle {
    const handle =
      this.#replaced.get(descriptor) ??
      this.#placeholders.handleOf(this.pid || this.#call.thread, descriptor);
    // Fields that mean nothing often hold 0, 1 or 2, the numbers of the standard streams.
    if (handle === 0 && descriptor > 2) this.#others.add(descriptor);
    return handle;
  }

  /** Lets descriptors of the call stand for an object of the guest. */
  replace(descriptors: readonly number[], handle: Handle): void {
    for (const descriptor of descriptors) {
      this.#others.delete(descriptor);
      this.#replaced.set(descriptor, handle);
    }
  }

  /** Returns the call's descriptors that stand for no object of the guest, and their names. */
  others(): { descriptor: number; name: string }[] {
    return [...this.#others].flatMap((descriptor) => {
      try {
        const path = `/proc/${this.pid || this.#call.thread}/fd/${descriptor}`;
        return [{ descriptor, name: readlinkSync(path) }];
      } catch {
        return [];
      }
    });
  }

  isOpen(descriptor: number): boolean {
    return native.identify(this.pid || this.#call.thread, descriptor) >= 0;
  }
}
