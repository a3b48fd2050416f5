import {
  enums,
  type FdKind,
  type IterTarget,
  iterTargetNamed,
  type MapSpec,
  type ObjectSpecs,
  rows,
  specOfInfo,
} from '../bpf/index.js';
import type { BtfTypes } from '../btf/index.js';
import { type Handle, handlesIn } from '../call.js';
import type { GuestKernel } from '../kernel/index.js';
import { findableKind } from '../kernel/objects.js';
import { programOffsetsOf } from '../kernel/struct-ops.js';

interface Known {
  kind?: FdKind;
  /** Whether the object was there before, and the program has found it. */
  found?: boolean;
  map?: MapSpec;
  /** Whether the program has frozen a map. */
  frozen?: boolean;
  linkType?: number;
  /** The type of the perf event behind a link. */
  perfType?: number;
  progType?: number;
  /** The BTF id of the function to which a program is attached, in the kernel's own types, or 0. */
  attachBtfId?: number;
  /**
   * The length of the `struct sample_id` at the end of the kernel's own records of a perf event.
   */
  sampleIdBytes?: number;
  /** Whether a perf event is one of a process of the program, which runs on this machine. */
  ofOwnProcess?: boolean;
  /** What an iterator iterates over; null when it is unknown. */
  iterTarget?: IterTarget | null;
}

const { BPF_LINK_TYPE_UNSPEC, BPF_LINK_TYPE_PERF_EVENT } = enums.LinkType;
const { BPF_MAP_TYPE_STRUCT_OPS } = enums.MapType;

/** The kinds of objects that attach probes. */
const probes: ReadonlySet<FdKind> = new Set(['link', 'perf_event']);

/**
 * The known facts about the guest's objects that the program holds.
 *
 * Little is requested in advance. If encoding a call needs more, the objects are added to
 * {@link missing}. The caller then calls {@link learn} and encodes the call again.
 */
export class Objects implements ObjectSpecs {
  readonly possibleCpus: number;
  /** The objects about which an encoding needed an unknown fact. */
  readonly missing = new Set<Handle>();
  readonly #guest: GuestKernel;
  readonly #typesNamed: (name?: string) => Promise<BtfTypes>;
  readonly #known = new Map<Handle, Known>();
  /**
   * The missing objects of which a fact is needed that takes longest to find, and is rarely needed:
   * iterators whose target is needed, and STRUCT_OPS maps whose values are written.
   */
  readonly #untold = new Set<Handle>();

  /**
   * @param typesNamed returns the types of one of the guest's modules, or without a name those of
   *   its kernel; called when the types are needed
   */
  constructor(guest: GuestKernel, typesNamed: (name?: string) => Promise<BtfTypes>) {
    this.#guest = guest;
    this.#typesNamed = typesNamed;
    this.possibleCpus = guest.kernel.possibleCpus;
  }

  /**
   * Records a new object.
   *
   * @param found whether the object was there before, and the program has found it
   */
  add(handle: Handle, kind: FdKind | undefined, found = false): void {
    this.#known.set(handle, { found, ...(kind === undefined ? {} : { kind }) });
  }

  /** Records a new perf event. */
  addPerfEvent(handle: Handle, sampleIdBytes: number, ofOwnProcess: boolean): void {
    this.#known.set(handle, { kind: 'perf_event', sampleIdBytes, ofOwnProcess });
  }

  /** Returns whether a perf event is one of a process that does not run in the guest. */
  isOfOwnProcess(handle: Handle): boolean {
    return this.#known.get(handle)?.ofOwnProcess === true;
  }

  /** Returns whether the relocations of a call name such an event. */
  isOwnProcessIn(relocations: readonly number[]): boolean {
    return handlesIn(relocations).some((handle) => this.isOfOwnProcess(handle));
  }

  /** Records a new map. */
  addMap(handle: Handle, map: MapSpec): void {
    this.#known.set(handle, { kind: 'map', map: this.#specOf(handle, map) });
  }

  /**
   * Records a new program.
   *
   * @param attachBtfId the BTF id of the function to which the program is attached, in the kernel's
   *   own types; kernels before 6.0 do not report it later
   */
  addProgram(handle: Handle, attachBtfId: number): void {
    this.#known.set(handle, { kind: 'prog', attachBtfId });
  }

  /** Whether the program holds an object that attaches probes. */
  get haveProbes(): boolean {
    for (const { kind } of this.#known.values())
      if (kind !== undefined && probes.has(kind)) return true;
    return false;
  }

  /** Returns whether an object attaches probes. */
  isProbe(handle: Handle): boolean {
    const kind = this.#known.get(handle)?.kind;
    return kind !== undefined && probes.has(kind);
  }

  remove(handle: Handle): void {
    this.#known.delete(handle);
  }

  /** Records that the program has frozen a map. */
  freeze(handle: Handle): void {
    const known = this.#known.get(handle);
    if (known !== undefined) known.frozen = true;
  }

  /** Returns whether the program has frozen a map. */
  isFrozen(handle: Handle): boolean {
    return this.#known.get(handle)?.frozen === true;
  }

  /** Returns whether the program has found an object that was there before. */
  isFound(handle: Handle): boolean {
    return this.#known.get(handle)?.found === true;
  }

  sampleIdBytesOf(handle: Handle): number {
    return this.#known.get(handle)?.sampleIdBytes ?? 0;
  }

  kindOf(handle: Handle): FdKind | undefined {
    return this.#look(handle, ({ kind }) => kind);
  }

  mapSpec(handle: Handle): MapSpec | undefined {
    return this.#look(handle, ({ map, kind }) => (kind === 'map' ? map : kind && null));
  }

  linkTypeOf(handle: Handle): number | undefined {
    return this.#look(handle, ({ linkType, kind }) => (kind === 'link' ? linkType : kind && null));
  }

  progTypeOf(handle: Handle): number | undefined {
    return this.#look(handle, ({ progType, kind }) => (kind === 'prog' ? progType : kind && null));
  }

  perfTypeOf(handle: Handle): number | undefined {
    return this.#look(handle, ({ perfType, linkType, kind }) => {
      if (kind !== 'link') return kind && null;
      if (linkType === undefined) return undefined;
      return linkType === BPF_LINK_TYPE_PERF_EVENT ? perfType : null;
    });
  }

  iterTargetOf(handle: Handle): IterTarget | undefined {
    return this.#look(handle, ({ iterTarget, kind }) => {
      if (kind !== 'prog') return kind && null;
      if (iterTarget === undefined) this.#untold.add(handle);
      return iterTarget;
    });
  }

  /** Returns the kind of an object. Asks the guest if the kind is unknown. */
  async find(handle: Handle): Promise<FdKind | undefined> {
    if (this.kindOf(handle) === undefined) await this.learn();
    return this.kindOf(handle);
  }

  /**
   * Returns the spec of a map. Asks the guest if the spec is unknown. Returns undefined for any
   * other object.
   */
  async findMap(handle: Handle): Promise<MapSpec | undefined> {
    if ((await this.find(handle)) !== 'map') return undefined;
    if (this.mapSpec(handle) === undefined) await this.learn();
    return this.mapSpec(handle);
  }

  /** Asks the guest about the missing objects. Returns whether there were any. */
  async learn(): Promise<boolean> {
    const handles = [...this.missing];
    this.missing.clear();
    for (const handle of handles) await this.#ask(handle);
    return handles.length > 0;
  }

  /**
   * @param read returns undefined if the guest must be asked, and null if the fact does not exist
   */
  #look<T>(handle: Handle, read: (known: Known) => T | undefined | null): T | undefined {
    const known = this.#known.get(handle);
    if (known === undefined) return undefined;
    const found = read(known);
    if (found === undefined) this.missing.add(handle);
    return found ?? undefined;
  }

  async #ask(handle: Handle): Promise<void> {
    const known = this.#known.get(handle);
    if (known === undefined) return;
    known.kind ??= await findableKind(this.#guest, handle);
    const bpf_fd = { handle } as never;
    if (known.kind === 'map') {
      const { info } = await this.#guest.bpf(rows.OBJ_GET_INFO_BY_FD_MAP, { bpf_fd });
      known.map = this.#specOf(handle, specOfInfo(info));
      if (!this.#untold.delete(handle)) return;
      const programOffsets = await programOffsetsOf(this.#guest, info, this.#typesNamed);
      known.map = { ...specOfInfo(info), programOffsets };
    } else if (known.kind === 'link') {
      const { info } = await this.#guest.bpf(rows.OBJ_GET_INFO_BY_FD_LINK, { bpf_fd });
      known.linkType = info.type ?? BPF_LINK_TYPE_UNSPEC;
      if (known.linkType !== BPF_LINK_TYPE_PERF_EVENT) return;
      const perf = await this.#guest.bpf(rows.OBJ_GET_INFO_BY_FD_LINK_PERF_EVENT, { bpf_fd });
      known.perfType = perf.info.perf_type;
    } else if (known.kind === 'prog') {
      const { info } = await this.#guest.bpf(rows.OBJ_GET_INFO_BY_FD_PROG, { bpf_fd });
      known.progType = info.type;
      known.attachBtfId ??= info.attach_btf_id ?? 0;
      if (!this.#untold.delete(handle)) return;
      known.iterTarget = await this.#targetOf(known.attachBtfId);
    }
  }

  /** Returns the spec of a map. That of a STRUCT_OPS map notes that its offsets are needed. */
  #specOf(handle: Handle, map: MapSpec): MapSpec {
    if (map.type !== BPF_MAP_TYPE_STRUCT_OPS) return map;
    const need = () => {
      this.missing.add(handle);
      this.#untold.add(handle);
      return undefined;
    };
    return Object.defineProperty({ ...map }, 'programOffsets', { get: need });
  }

  async #targetOf(attachBtfId: number): Promise<IterTarget | null> {
    if (attachBtfId === 0) return null;
    const types = await this.#typesNamed();
    // A larger id is a type of a kernel module.
    if (attachBtfId >= types.length) return null;
    return iterTargetNamed(types.type(attachBtfId).name);
  }
}
