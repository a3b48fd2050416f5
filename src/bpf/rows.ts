/*
 * The vocabulary for descriptions of bpf(2): plain data without behaviour. commands.ts and infos.ts
 * use it. compile.ts, encoding.ts and the ABI test read it.
 *
 * If the vocabulary cannot express a fact about a command, the row has a `NEED:` comment.
 */

/** The direction of bytes: to the kernel, from it, or both. */
export type Flow = 'in' | 'out' | 'inout';

/** The kind of a descriptor's object. `file` is any descriptor. */
export type FdKind =
  | 'map'
  | 'prog'
  | 'btf'
  | 'link'
  | 'iter'
  | 'stats'
  | 'token'
  | 'perf_event'
  | 'cgroup'
  | 'netns'
  | 'directory'
  | 'pidfd'
  | 'lirc'
  | 'file';

/** The kernel release that added a field, such as `'6.4'`. Absent: 5.10 or earlier. */
export type Release = `${number}.${number}`;

interface Placed {
  /** Byte offset in the structure. */
  readonly offset: number;
  /**
   * The release that added the field. The structure is sent up to such a field only when the field
   * is used. The kernel writes such an output only to a structure that is long enough.
   */
  readonly since?: Release;
  /** The member's path in C, if it differs from the field's own name. */
  readonly member?: string;
}

/** A number. `u64` is a bigint in results; `bit` is the lowest bit of a 32-bit word. */
export interface NumberField<T extends NumberType = NumberType, F extends Flow = Flow>
  extends Placed {
  readonly type: T;
  readonly flow: F;
}
export type NumberType = 'u32' | 's32' | 'u64' | 'bit';

/** An array of bytes in the structure: NUL-terminated text (`chars`), or any bytes (`bytes`). */
export interface ArrayField<T extends 'chars' | 'bytes' = 'chars' | 'bytes', F extends Flow = Flow>
  extends Placed {
  readonly type: T;
  readonly flow: F;
  readonly sizeBytes: number;
}

/** When a descriptor field holds a descriptor. */
export type Presence =
  /** Always: 0 is a descriptor like any other. */
  | 'always'
  /** Unless it is 0. */
  | 'nonzero'
  /** If a bit of another field is set. */
  | { readonly flag: readonly [field: string, bit: number] }
  /** Unless it is 0, or a bit of another field is set. */
  | { readonly unless: readonly [field: string, bit: number] };

/** A 32-bit process id that is always the one of the calling process in the guest. */
export interface SelfField extends Placed {
  readonly type: 'self';
  readonly flow: 'in';
}

/**
 * What a call does with an object: reads it, changes it (its contents, its life, its attachment),
 * runs it, or attaches it.
 */
export type Use = 'read' | 'change' | 'run' | 'attach';

/** What a call does with the object behind a descriptor. */
interface Used {
  /** Absent: the call reads the object. */
  readonly use?: Use;
  /** The calls to which `use` applies. Other calls read the object. Absent: all calls. */
  readonly usedWhen?: Condition;
}

/** A 32-bit descriptor. */
export interface FdField<K extends FdKind = FdKind, P extends Presence = Presence>
  extends Placed,
    Used {
  readonly type: 'fd';
  readonly flow: 'in';
  /** The kinds of objects that the descriptor may stand for. */
  readonly kinds: readonly K[];
  /** Which values of the field stand for a descriptor. */
  readonly present: P;
}

/** The number of bytes behind a pointer. Names are fields of the same structure. */
export type Length =
  /**
   * `field` × `times` bytes. `times` is a constant or the name of a field. With `unlimited`, 0
   * means that the kernel writes all that there is. The value of the `unlimited` field is a rough
   * estimate.
   */
  | {
      readonly by: 'field';
      readonly field: string;
      readonly times: number | string;
      readonly unlimited?: string;
    }
  /** Up to and including a NUL. The kernel reads at most this many bytes. */
  | { readonly by: 'nul'; readonly maximumBytes: number }
  /** The map's key size, × `count`. */
  | { readonly by: 'mapKey'; readonly map: string; readonly count?: string }
  /** The map's value size for user space, × `count`. `flags` may ask for one CPU's value. */
  | {
      readonly by: 'mapValue';
      readonly map: string;
      readonly flags?: string;
      readonly count?: string;
    }
  /** The position in a batch. Its size depends on the kind of map. */
  | { readonly by: 'batchToken'; readonly map: string }
  /** 4 × `count`. If `count` is 0, as many as the instructions use. */
  | { readonly by: 'usedFds'; readonly count: string };

/** Descriptors in the bytes behind a pointer. fds.ts knows their positions. */
export type Holding = 'instructions' | 'mapKeys' | 'mapValues';

interface Pointer extends Placed {
  /** Whether NULL means "none" to the kernel. */
  readonly nullable: boolean;
}

/** A pointer to bytes. */
export interface BufferField<
  F extends Flow = Flow,
  L extends Length = Length,
  N extends boolean = boolean,
> extends Pointer {
  readonly type: 'buffer';
  readonly flow: F;
  readonly length: L;
  readonly nullable: N;
  readonly holds?: Holding;
}

/** A pointer to NUL-terminated text. */
export interface StringField<F extends 'in' | 'out' = 'in' | 'out', N extends boolean = boolean>
  extends Pointer {
  readonly type: 'string';
  readonly flow: F;
  readonly length: Length;
  readonly nullable: N;
}

/** A pointer to `count` pointers to NUL-terminated text. */
export interface StringsField<N extends boolean = boolean> extends Pointer {
  readonly type: 'strings';
  readonly flow: 'in';
  readonly length: Length & { readonly by: 'field' };
  /** The maximum size of one text in bytes, with its NUL. */
  readonly maximumBytes: number;
  readonly nullable: N;
}

/** A pointer to 32-bit descriptors. */
export interface FdsField<K extends FdKind = FdKind, N extends boolean = boolean>
  extends Pointer,
    Used {
  readonly type: 'fds';
  readonly flow: 'in';
  readonly kinds: readonly K[];
  readonly length: Length;
  readonly nullable: N;
}

/** A pointer to another structure, which may contain pointers and descriptors. */
export interface StructField<
  S extends Struct = Struct,
  F extends 'in' | 'inout' = 'in' | 'inout',
  N extends boolean = boolean,
> extends Pointer {
  readonly type: 'struct';
  readonly flow: F;
  readonly struct: S;
  readonly length: Length & { readonly by: 'field' };
  readonly nullable: N;
}

export type PointerField = BufferField | StringField | StringsField | FdsField | StructField;
/** A field of a structure of the kernel. */
export type Field = NumberField | ArrayField | FdField | SelfField | PointerField;
export type Fields = { readonly [name: string]: Field };

/** A C structure, or one member of a C union. */
export interface Struct<F extends Fields = Fields> {
  /** The kernel's name, for errors. */
  readonly name: string;
  /** The C type, and the member of it (`''` for an anonymous one) that contains the fields. */
  readonly c: readonly [type: string, arm: string];
  /** The fields, by their names in the kernel's header. */
  readonly fields: F;
}

/** The meaning of a command's non-negative result. */
export type Returns = 'status' | 'fd' | 'length';

/**
 * The target of an iterator, as far as it decides the restriction. `other` cannot be restricted.
 */
export type IterTarget = 'map' | 'cgroup' | 'task' | 'other';

/** Which of several shapes of a command applies. All parts must hold. */
export interface Condition {
  readonly value?: readonly [field: string, values: readonly number[]];
  readonly zero?: string;
  readonly text?: readonly [field: string, text: string];
  readonly mapType?: readonly [field: string, types: readonly number[]];
  readonly progType?: readonly [field: string, types: readonly number[]];
  readonly linkType?: readonly [field: string, types: readonly number[]];
  /** `none`: the descriptor has no object of the guest. */
  readonly fdKind?: readonly [field: string, kinds: readonly (FdKind | 'none')[]];
  /** The type of a link's perf event. */
  readonly perfType?: readonly [field: string, types: readonly number[]];
  /** The target of the iterator program behind a descriptor. */
  readonly iterates?: readonly [field: string, target: IterTarget];
  /** The field has the process id of the calling process. */
  readonly own?: string;
}

/** One shape of a bpf(2) command. */
export interface Command<F extends Fields = Fields, R extends Returns = Returns> extends Struct<F> {
  /** The number of the command, `BPF_*` of `enum bpf_cmd`. */
  readonly command: number;
  /** What the system call returns. */
  readonly returns: R;
  /** The kind of the new descriptor's object, if the command alone decides it. */
  readonly makes?: FdKind;
  /** Whether the new descriptor's object exists already. It may belong to another process. */
  readonly finds?: true;
  /** Why calls of this shape cannot be carried to another kernel, and the alternative. */
  readonly stays?: { readonly what: string; readonly why: string };
  /** One of these must hold. Absent: the shape applies if no other shape of the command does. */
  readonly when?: Condition | readonly Condition[];
  /** Whether this shape comes before shapes whose conditions may hold as well. */
  readonly first?: boolean;
}

type Options<F extends Fields, R extends Returns> = Omit<
  Command<F, R>,
  'name' | 'command' | 'returns' | 'fields' | 'c'
> & { readonly arm?: string };

export const command = <const F extends Fields, const R extends Returns>(
  name: string,
  number: number,
  returns: R,
  fields: F,
  { arm = '', ...options }: Options<F, R> = {},
): Command<F, R> => ({
  name,
  command: number,
  returns,
  c: ['union bpf_attr', arm],
  fields,
  ...options,
});

export const struct = <const F extends Fields>(type: string, fields: F, arm = ''): Struct<F> => ({
  name: type.replace(/^\w+ /, ''),
  c: [type, arm],
  fields,
});

const number =
  <T extends NumberType>(type: T) =>
  (offset: number): NumberField<T, 'in'> => ({ type, flow: 'in', offset });

export const u32 = number('u32');
export const s32 = number('s32');
export const u64 = number('u64');
export const bit = number('bit');

export const chars = (offset: number, sizeBytes: number): ArrayField<'chars', 'in'> => ({
  type: 'chars',
  flow: 'in',
  offset,
  sizeBytes,
});

export const bytes = (offset: number, sizeBytes: number): ArrayField<'bytes', 'in'> => ({
  type: 'bytes',
  flow: 'in',
  offset,
  sizeBytes,
});

export const fd = <K extends FdKind>(offset: number, ...kinds: K[]): FdField<K, 'always'> => ({
  type: 'fd',
  flow: 'in',
  offset,
  kinds,
  present: 'always',
});

export const fdIf = <K extends FdKind>(
  present: Exclude<Presence, 'always'>,
  offset: number,
  ...kinds: K[]
): FdField<K, Exclude<Presence, 'always'>> => ({ type: 'fd', flow: 'in', offset, kinds, present });

export const self = (offset: number): SelfField => ({ type: 'self', flow: 'in', offset });

export const buffer = <F extends Flow, const L extends Length>(
  offset: number,
  flow: F,
  length: L,
  holds?: Holding,
): BufferField<F, L, false> => ({
  type: 'buffer',
  flow,
  offset,
  length,
  nullable: false,
  ...(holds === undefined ? {} : { holds }),
});

export const string = <F extends 'in' | 'out'>(
  offset: number,
  flow: F,
  length: Length,
): StringField<F, false> => ({ type: 'string', flow, offset, length, nullable: false });

export const strings = (
  offset: number,
  length: Length & { by: 'field' },
  maximumBytes: number,
): StringsField<false> => ({
  type: 'strings',
  flow: 'in',
  offset,
  length,
  maximumBytes,
  nullable: false,
});

export const fds = <K extends FdKind>(
  offset: number,
  length: Length,
  ...kinds: K[]
): FdsField<K, false> => ({ type: 'fds', flow: 'in', offset, kinds, length, nullable: false });

export const pointsTo = <S extends Struct, F extends 'in' | 'inout'>(
  offset: number,
  flow: F,
  to: S,
  length: Length & { by: 'field' },
): StructField<S, F, false> => ({
  type: 'struct',
  flow,
  offset,
  struct: to,
  length,
  nullable: false,
});

export const times = <T extends number | string>(field: string, count: T) =>
  ({ by: 'field', field, times: count }) as const;
export const sizedBy = (field: string) => times(field, 1);
export const sizedByOrUnlimited = (field: string, unlimited: string) =>
  ({ by: 'field', field, times: 1, unlimited }) as const;
export const cString = (maximumBytes: number) => ({ by: 'nul', maximumBytes }) as const;
export const mapKey = (map: string, count?: string) =>
  ({ by: 'mapKey', map, ...(count === undefined ? {} : { count }) }) as const;
export const mapValue = (map: string, flags?: string, count?: string) =>
  ({
    by: 'mapValue',
    map,
    ...(flags === undefined ? {} : { flags }),
    ...(count === undefined ? {} : { count }),
  }) as const;
export const batchToken = (map: string) => ({ by: 'batchToken', map }) as const;
export const usedFds = (count: string) => ({ by: 'usedFds', count }) as const;

const used =
  (use: Use) =>
  <F extends FdField | FdsField>(field: F, usedWhen?: Condition): F => ({
    ...field,
    use,
    ...(usedWhen === undefined ? {} : { usedWhen }),
  });

/** The call changes the object: its contents, its life, or its attachment. */
export const changes = used('change');
/** The call runs the program. */
export const runs = used('run');
/** The call attaches the program. */
export const attaches = used('attach');

type With<F, P> = Omit<F, keyof P> & P;

export const out = <F extends NumberField | ArrayField>(field: F): With<F, { flow: 'out' }> => ({
  ...field,
  flow: 'out',
});
export const inout = <F extends NumberField | ArrayField>(
  field: F,
): With<F, { flow: 'inout' }> => ({ ...field, flow: 'inout' });
export const nullable = <F extends PointerField>(field: F): With<F, { nullable: true }> => ({
  ...field,
  nullable: true,
});
export const since = <F extends Field>(release: Release, field: F): F => ({
  ...field,
  since: release,
});
export const member = <F extends Field>(path: string, field: F): F => ({ ...field, member: path });
