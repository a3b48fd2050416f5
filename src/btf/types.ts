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
  /** The number of the type among those that it was read with. */
  readonly id: TypeId;
  /** What kind of type it is. */
  readonly kind: K;
  /** Empty for a type without a name. */
  readonly name: string;
}

/** A member of a structure or a union. */
export interface BtfMember {
  /** Empty for an anonymous structure or union. */
  readonly name: string;
  /** The type of the member. */
  readonly type: TypeId;
  /** Where the member begins in the structure, in bits. */
  readonly offsetBits: number;
  /** The width of a bit field, or 0. */
  readonly widthBits: number;
}

/** An integer, a character or a boolean. */
export interface BtfInt extends Common<'int'> {
  /** The bytes that the integer occupies. */
  readonly sizeBytes: number;
  /** Whether the integer can be negative. */
  readonly signed: boolean;
  /** Whether the integer is a boolean. */
  readonly boolean: boolean;
  /** Whether the integer is a character. */
  readonly character: boolean;
  /** The position of the number within its bytes, for a bit field of an old compiler. */
  readonly offsetBits: number;
  /** The bits of the integer. */
  readonly widthBits: number;
}
/** An array. */
export interface BtfArray extends Common<'array'> {
  /** The type of the elements. */
  readonly type: TypeId;
  /** The type of the indices. */
  readonly indexType: TypeId;
  /** The number of the elements. */
  readonly length: number;
}
/** A structure or a union. */
export interface BtfComposite extends Common<'struct' | 'union'> {
  /** The size of the whole, in bytes. */
  readonly sizeBytes: number;
  /** The members, in their order in C. */
  readonly members: readonly BtfMember[];
}
/** An enumeration. */
export interface BtfEnum extends Common<'enum' | 'enum64'> {
  /** The bytes that a value occupies. */
  readonly sizeBytes: number;
  /** Whether values can be negative. */
  readonly signed: boolean;
  /** The constants, in their order in C. */
  readonly values: ReadonlyArray<{ readonly name: string; readonly value: bigint }>;
}
/** The declaration of a structure or a union that is defined elsewhere. */
export interface BtfForward extends Common<'fwd'> {
  /** Whether it is a union. */
  readonly union: boolean;
}
/**
 * A type that stands for another type or points to it. For `func`, the other type is its prototype.
 */
export interface BtfReference
  extends Common<'ptr' | 'typedef' | 'volatile' | 'const' | 'restrict' | 'func' | 'type_tag'> {
  /** The type that it refers to. */
  readonly type: TypeId;
}
/** The parameters and the result of a function. */
export interface BtfPrototype extends Common<'func_proto'> {
  /** The return type. */
  readonly type: TypeId;
  /** The parameters, in their order. */
  readonly parameters: ReadonlyArray<{ readonly name: string; readonly type: TypeId }>;
}
/** A variable. */
export interface BtfVariable extends Common<'var'> {
  /** The type of the variable. */
  readonly type: TypeId;
  /** 0 for a static function or variable, 1 for a global one, 2 for an external one. */
  readonly linkage: number;
}
/** A section of variables, such as `.data`. */
export interface BtfSection extends Common<'datasec'> {
  /** The size of the section, in bytes. */
  readonly sizeBytes: number;
  /** The variables, with their places in the section. */
  readonly variables: ReadonlyArray<{
    readonly type: TypeId;
    readonly offsetBytes: number;
    readonly sizeBytes: number;
  }>;
}
/** A number with a fraction. */
export interface BtfFloat extends Common<'float'> {
  /** The bytes that the number occupies. */
  readonly sizeBytes: number;
}
/** A tag that the source has put on a declaration. */
export interface BtfTag extends Common<'decl_tag'> {
  /** The type that has the tag. */
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
