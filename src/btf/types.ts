/* The types of BTF. Kernel source: include/uapi/linux/btf.h, Documentation/bpf/btf.rst. */

/** The names of `BTF_KIND_*` in this library. */
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

/** The number of a type within one BTF object; 0 is `void`. */
export type TypeId = number;

interface Common<K extends BtfKind> {
  readonly id: TypeId;
  readonly kind: K;
  /** Empty for a type without a name. */
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
  /** The position of the number within its bytes, for a bit field of an old compiler. */
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
/**
 * A type that stands for another type or points to it. For `func`, the other type is its prototype.
 */
export interface BtfReference
  extends Common<'ptr' | 'typedef' | 'volatile' | 'const' | 'restrict' | 'func' | 'type_tag'> {
  readonly type: TypeId;
}
export interface BtfPrototype extends Common<'func_proto'> {
  /** The return type. */
  readonly type: TypeId;
  readonly parameters: ReadonlyArray<{ readonly name: string; readonly type: TypeId }>;
}
export interface BtfVariable extends Common<'var'> {
  readonly type: TypeId;
  /** 0 for a static function or variable, 1 for a global one, 2 for an external one. */
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
  /** The index of the member or parameter with the tag, or −1 for the whole type. */
  readonly component: number;
}

/** Any type; `kind` tells them apart. */
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
