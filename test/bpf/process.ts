import type { Memory } from '../../src/bpf/index.js';

/** A process: its bytes by address, and the handles behind its descriptors. */
export class Process implements Memory {
  readonly bytes: Uint8Array;
  readonly handles = new Map<number, number>();
  readonly pid?: number;

  constructor(pid?: number, sizeBytes = 0x10000) {
    this.bytes = new Uint8Array(sizeBytes);
    if (pid !== undefined) this.pid = pid;
  }

  put(address: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, address);
  }

  read(address: bigint, length: number): Uint8Array {
    return this.bytes.slice(Number(address), Number(address) + length);
  }

  extent(address: bigint, length: number): number {
    return this.read(address, length).length;
  }

  readText(address: bigint, maximumBytes: number): Uint8Array {
    const end = this.bytes.indexOf(0, Number(address)) + 1;
    return this.bytes.slice(Number(address), Math.min(end, Number(address) + maximumBytes));
  }

  handleOf(descriptor: number): number {
    return this.handles.get(descriptor) ?? 0;
  }

  isOpen(descriptor: number): boolean {
    return [0, 1, 2, 98].includes(descriptor) || this.handles.has(descriptor);
  }
}
