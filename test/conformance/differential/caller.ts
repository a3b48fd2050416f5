/*
 * Plays the process of a script for the forwarder. Memory and descriptors are on this side, and
 * objects are in the guest. It answers every call as the process would be answered.
 */
import {
  type EncodedCall,
  encodeRaw,
  type FdKind,
  type IterTarget,
  iterTargetNamed,
  type MapSpec,
  type Memory,
  type ObjectSpecs,
  rows,
} from '../../../src/bpf/index.js';
import type { Handle } from '../../../src/call.js';
import { type Session, type SystemError, WaepError } from '../../../src/index.js';
import { readCommon } from '../../../src/run/bpf-call.js';
import type { Outcome } from './binary.js';
import { type Case, isObserved, Protection, type Step } from './script.js';
import { Cmd } from './uapi.js';
import type { World } from './world.js';

const EBADF = 9;
const EFAULT = 14;
const EINVAL = 22;
const PAGE = 4096;

interface Region {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  readonly protection: number;
}

/** The answers to calls that are never sent, by the code of the error that stops them. */
const refusals: { readonly [code: string]: number } = { ERR_BPF_UNKNOWN_COMMAND: EINVAL };

/** Follows the scripts of cases through a session. */
export class Caller implements Memory, ObjectSpecs {
  /** No process in the guest has this id. So a mistaken use as an id there is noticed. */
  readonly pid = 3_999_999;
  readonly possibleCpus: number;
  readonly #session: Session;
  readonly #world: World;
  readonly #handles = new Map<number, Handle>();
  readonly #kinds = new Map<Handle, FdKind>();
  readonly #linkTypes = new Map<Handle, number>();
  readonly #maps = new Map<Handle, MapSpec>();
  /** The kernel's types that programs are attached to, by program. */
  readonly #targets = new Map<Handle, number>();
  #regions: Region[] = [];

  constructor(session: Session, world: World) {
    this.#session = session;
    this.#world = world;
    this.possibleCpus = session.kernel.possibleCpus;
  }

  /**
   * Runs one case to its end.
   *
   * @returns the outcomes of its observed steps, and why calls were not sent, if any were not
   */
  async run(one: Case): Promise<{ outcomes: Outcome[]; refused: string[] }> {
    const outcomes: Outcome[] = [];
    const refused: string[] = [];
    for (const step of one.steps) {
      const answer = await this.#follow(step).catch((error: unknown) => {
        if (!(error instanceof WaepError)) throw error;
        refused.push(error.message);
        return { result: -1, errno: refusals[error.code] ?? 0 };
      });
      if (!isObserved(step)) continue;
      const places = this.#regions.map(({ bytes, protection }) =>
        protection === Protection.NONE ? new Uint8Array(bytes.length) : bytes.slice(),
      );
      outcomes.push({ ...answer, places });
    }
    await this.#forget();
    return { outcomes, refused };
  }

  read(address: bigint, length: number): Uint8Array {
    const region = this.#regionAt(address);
    if (region === undefined || region.protection === Protection.NONE) return new Uint8Array(0);
    const start = Number(address - region.address);
    return region.bytes.slice(start, start + Math.min(length, region.bytes.length));
  }

  readText(address: bigint, maximumBytes: number): Uint8Array {
    const bytes = this.read(address, maximumBytes);
    const end = bytes.indexOf(0) + 1;
    return end === 0 ? bytes : bytes.subarray(0, end);
  }

  extent(address: bigint, length: number): number {
    return this.read(address, length).length;
  }

  handleOf(descriptor: number): Handle {
    return this.#handles.get(descriptor) ?? 0;
  }

  isOpen(descriptor: number): boolean {
    return (descriptor >= 0 && descriptor <= 2) || this.#handles.has(descriptor);
  }

  mapSpec(handle: Handle): MapSpec | undefined {
    return this.#maps.get(handle);
  }

  kindOf(handle: Handle): FdKind | undefined {
    return this.#kinds.get(handle);
  }

  linkTypeOf(handle: Handle): number | undefined {
    return this.#linkTypes.get(handle);
  }

  iterTargetOf(handle: Handle): IterTarget | undefined {
    const name = this.#world.typeName(this.#targets.get(handle) ?? 0);
    return name === undefined ? undefined : iterTargetNamed(name);
  }

  async #follow(step: Step): Promise<{ result: number; errno: number }> {
    const done = { result: 0, errno: 0 };
    switch (step.op) {
      case 'map': {
        const { place, bytes, protection } = step;
        this.#regions.push({ address: place.address, bytes: Uint8Array.from(bytes), protection });
        return done;
      }
      case 'copy':
        this.#write(step.to, this.read(step.from, step.sizeBytes));
        return done;
      case 'same': {
        const [a, b] = [step.a, step.b].map((address) => this.read(address, step.sizeBytes));
        const equal = Buffer.compare(a ?? Buffer.alloc(0), b ?? Buffer.alloc(0)) === 0;
        this.#write(step.to, Uint8Array.of(Number(equal), 0, 0, 0));
        return done;
      }
      case 'close':
        await this.#close(step.fd);
        return done;
      case 'open':
        return this.#attempt(async () => {
          const handle = await this.#session.open(step.path);
          this.#handles.set(step.fd, handle);
          this.#kinds.set(handle, 'file');
          return step.fd;
        });
      case 'read':
        return this.#attempt(async () => {
          const handle = this.#handles.get(step.fd);
          if (handle === undefined) return -EBADF;
          const bytes = await this.#session.read(handle, step.sizeBytes);
          if (bytes === undefined) return -11;
          this.#write(step.address, bytes);
          return bytes.length;
        });
      case 'self':
        this.#write(step.to, Buffer.from(Int32Array.of(this.pid).buffer));
        return done;
      case 'bpf':
        return this.#bpf(step);
    }
  }

  async #attempt(work: () => Promise<number>): Promise<{ result: number; errno: number }> {
    try {
      const result = await work();
      return result < 0 ? { result: -1, errno: -result } : { result, errno: 0 };
    } catch (error) {
      if (error instanceof WaepError) throw error;
      return { result: -1, errno: -(error as SystemError).errno };
    }
  }

  async #bpf(step: Extract<Step, { op: 'bpf' }>): Promise<{ result: number; errno: number }> {
    // The kernel refuses any size above a page before it looks at the attribute.
    const sizeBytes = Math.min(step.sizeBytes, PAGE + 1);
    const image = this.read(step.attribute, sizeBytes);
    if (image.length < sizeBytes && step.sizeBytes <= PAGE) return { result: -1, errno: EFAULT };
    const { address, sizeBytes: commonBytes } = step.common ?? { address: 0n, sizeBytes: 0 };
    const fourth = { command: step.command, address, sizeBytes: commonBytes };
    const common = await readCommon(this.#session, this, this, fourth);
    if (typeof common === 'number') return { result: -1, errno: common };
    const raw = {
      command: step.command,
      address: step.attribute,
      image,
      common,
    };
    const handle = this.#session.newHandle();
    const encoded = encodeRaw(raw, this, this, handle);
    const reply = await this.#session.call(encoded.call);
    const bound = encoded.call.result !== 0 && reply.result >= 0;
    const written = encoded
      .writes(reply)
      .every(({ address, bytes }) => this.#write(address, bytes));
    if (!written) {
      if (bound) await this.#session.release([handle]);
      return { result: -1, errno: EFAULT };
    }
    if (!bound) return { result: reply.result, errno: reply.errno };
    this.#handles.set(step.fd, handle);
    await this.#learn(encoded, image, handle);
    return { result: step.fd, errno: 0 };
  }

  /** Records the facts that later calls depend on. */
  async #learn({ shape }: EncodedCall, image: Uint8Array, handle: Handle): Promise<void> {
    const kind = shape.command === Cmd.OBJ_GET ? await this.#kindByInfo(handle) : shape.makes;
    if (kind === undefined) return;
    this.#kinds.set(handle, kind);
    if (shape.command === Cmd.MAP_CREATE) {
      const attribute = new Uint8Array(64);
      attribute.set(image.subarray(0, 64));
      const words = new Uint32Array(attribute.buffer);
      const [type = 0, keySize = 0, valueSize = 0, maxEntries = 0, flags = 0] = words;
      const programOffsets = this.#world.programOffsets(words[15] ?? 0);
      this.#maps.set(handle, { type, keySize, valueSize, maxEntries, flags, programOffsets });
    } else if (kind === 'map') {
      const bpf_fd = { handle, kind: 'map' } as const;
      const { info } = await this.#session.bpf(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd });
      this.#maps.set(handle, {
        type: info.type,
        keySize: info.key_size,
        valueSize: info.value_size,
        maxEntries: info.max_entries,
        flags: info.map_flags,
      });
    } else if (shape.command === Cmd.PROG_LOAD) {
      this.#targets.set(handle, image.length < 112 ? 0 : Buffer.from(image).readUInt32LE(108));
    } else if (kind === 'link') {
      const bpf_fd = { handle, kind: 'link' } as const;
      const { info } = await this.#session.bpf(rows.OBJ_GET_INFO_BY_FD_LINK, { bpf_fd });
      this.#linkTypes.set(handle, info.type);
    }
  }

  /** Returns the kind of a pinned object. The sizes of the infos differ by far. */
  async #kindByInfo(handle: Handle): Promise<FdKind> {
    const bpf_fd = { handle, kind: 'map' } as const;
    const { info_len } = await this.#session.bpf(rows.OBJ_GET_INFO_BY_FD_MAP, {
      bpf_fd,
      info_len: 1024,
    });
    return info_len >= 128 ? 'prog' : info_len > 64 ? 'map' : 'link';
  }

  async #close(fd: number): Promise<void> {
    const handle = this.#handles.get(fd);
    if (handle === undefined) return;
    this.#handles.delete(fd);
    await this.#session.release([handle]);
  }

  async #forget(): Promise<void> {
    const handles = [...this.#handles.values()];
    if (handles.length > 0) await this.#session.release(handles);
    for (const map of [this.#handles, this.#kinds, this.#linkTypes, this.#maps, this.#targets])
      map.clear();
    this.#regions = [];
  }

  #regionAt(address: bigint): Region | undefined {
    return this.#regions.find(
      (region) =>
        region.address <= address && address < region.address + BigInt(region.bytes.length),
    );
  }

  /** Returns false if the process cannot write there. */
  #write(address: bigint, bytes: Uint8Array): boolean {
    if (bytes.length === 0) return true;
    const region = this.#regionAt(address);
    if (region === undefined || region.protection !== Protection.READ_WRITE) return false;
    const start = Number(address - region.address);
    const room = region.bytes.length - start;
    region.bytes.set(bytes.subarray(0, room), start);
    return bytes.length <= room;
  }
}
