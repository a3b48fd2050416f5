/* The types of BTF. Kernel source: include/uapi/linux/btf.h, Documentation/bpf/btf.rst. */

/** `BTF_KIND_*`, under the names that types have here. */
export const kindNames = [
  'void',
  'int',
  'ptr',
  'array',
  'struct',
  'union',
  'enum',
  'fwd',
  'typedef',
  'volatile',
  'const',
  'restrict',
  'func',
  'func_proto',
  'var',
  'datasec',
  'float',
  'decl_tag',
  'type_tag',
  'enum64',
] as const;

/** A kind of type. */
export type BtfKind = (typeof kindNames)[number];

/** A number that names a type within one BTF object; 0 is `void`. */
export type TypeId = number;

interface Common<K extends BtfKind> {
  readonly id: TypeId;
  readonly kind: K;
  /** Empty for a type without one. */
  readonly name: string;
}

/** A member of a structure or a union. */
export interface BtfMember {
  /** Empty for an anonymous structure or union. */
  readonly name: string;
  readonly type: TypeId;
  readonly offsetBits: number;
  /** The width of a bit field, or 0. */
  readonly widthBits: number;
}

export interface BtfInt extends Common<'int'> {
  readonly sizeBytes: number;
  readonly signed: boolean;
  readonly boolean: boolean;
  readonly character: boolean;
  /** Where the number is within its bytes: an old compiler's bit field. */
  readonly offsetBits: number;
  readonly widthBits: number;
}
export interface BtfArray extends Common<'array'> {
  readonly type: TypeId;
  readonly indexType: TypeId;
  readonly length: number;
}
export interface BtfComposite extends Common<'struct' | 'union'> {
  readonly sizeBytes: number;
  readonly members: readonly BtfMember[];
}
export interface BtfEnum extends Common<'enum' | 'enum64'> {
  readonly sizeBytes: number;
  readonly signed: boolean;
  readonly values: ReadonlyArray<{ readonly name: string; readonly value: bigint }>;
}
export interface BtfForward extends Common<'fwd'> {
  readonly union: boolean;
}
/** A type that stands for another, or points to it; of `func`, its prototype. */
export interface BtfReference
  extends Common<'ptr' | 'typedef' | 'volatile' | 'const' | 'restrict' | 'func' | 'type_tag'> {
  readonly type: TypeId;
}
export interface BtfPrototype extends Common<'func_proto'> {
  /** What it returns. */
  readonly type: TypeId;
  readonly parameters: ReadonlyArray<{ readonly name: string; readonly type: TypeId }>;
}
export interface BtfVariable extends Common<'var'> {
  readonly type: TypeId;
  /** 0 for a static one, 1 for a global one, 2 for one that is elsewhere. */
  readonly linkage: number;
}
export interface BtfSection extends Common<'datasec'> {
  readonly sizeBytes: number;
  readonly variables: ReadonlyArray<{
    readonly type: TypeId;
    readonly offsetBytes: number;
    readonly sizeBytes: number;
  }>;
}
export interface BtfFloat extends Common<'float'> {
  readonly sizeBytes: number;
}
export interface BtfTag extends Common<'decl_tag'> {
  readonly type: TypeId;
  /** Which member or parameter it is on, or −1 for the whole. */
  readonly component: number;
}

/** A type, told apart by `kind`. */
export type BtfType =
  | Common<'void'>
  | BtfInt
  | BtfArray
  | BtfComposite
  | BtfEnum
  | BtfForward
  | BtfReference
  | BtfPrototype
  | BtfVariable
  | BtfSection
  | BtfFloat
  | BtfTag;
