/* The TypeScript types of a row's fields, as arguments and as results. */
import type { Handle } from '../call.js';
import type {
  ArrayField,
  BufferField,
  Command,
  FdField,
  FdKind,
  FdsField,
  Field,
  Fields,
  NumberField,
  PointerField,
  StringField,
  StringsField,
  Struct,
  StructField,
} from './rows.js';

/**
 * A reference to an object in the guest. If the object knows its kind, it fits only where the kind
 * is allowed.
 */
export interface Ref<K extends FdKind = FdKind> {
  /** The handle of the object in its session. */
  readonly handle: Handle;
  /** The kind of the object. */
  readonly kind?: K;
}

/** The type of a field's value as an argument. */
type Input<F> =
  F extends NumberField<'u64'>
    ? number | bigint
    : F extends NumberField
      ? number
      : F extends ArrayField<'chars'>
        ? string
        : F extends ArrayField<'bytes'>
          ? Uint8Array
          : F extends FdField<infer K>
            ? Ref<K>
            : F extends FdsField<infer K>
              ? readonly Ref<K>[]
              : F extends { flow: 'out' }
                ? boolean
                : F extends BufferField
                  ? Uint8Array | null
                  : F extends StringField
                    ? string | null
                    : F extends StringsField
                      ? readonly string[]
                      : F extends StructField<infer S>
                        ? Inputs<S['fields']>
                        : never;

/** The type of a field's value in a result. */
type Output<F> =
  F extends NumberField<'u64'>
    ? bigint
    : F extends NumberField<'bit'>
      ? boolean
      : F extends NumberField
        ? number
        : F extends ArrayField<'chars'>
          ? string
          : F extends ArrayField<'bytes'>
            ? Uint8Array
            : F extends StringField
              ? string
              : F extends BufferField
                ? Uint8Array
                : F extends StructField<infer S>
                  ? Outputs<S['fields']>
                  : never;

type MustBeGiven<F> =
  F extends FdField<FdKind, infer P>
    ? P extends 'always'
      ? true
      : false
    : F extends StructField<Struct, 'inout'>
      ? false
      : F extends PointerField & { nullable: false; flow: 'in' | 'inout' }
        ? true
        : false;

type Accepted<F> = F extends { flow: 'in' | 'inout' }
  ? true
  : F extends PointerField & { nullable: true }
    ? true
    : false;

/**
 * Whether a result always has the field, because its length does not depend on the caller's
 * request.
 */
type Certain<F> = F extends NumberField | ArrayField | StructField
  ? true
  : F extends { nullable: false; length: { by: 'mapKey' | 'mapValue' } }
    ? true
    : false;

type Names<F extends Fields, Test extends 'required' | 'optional' | 'certain' | 'possible'> = {
  [K in keyof F]: F[K] extends infer One extends Field
    ? Test extends 'required' | 'optional'
      ? Accepted<One> extends true
        ? MustBeGiven<One> extends (Test extends 'required' ? true : false)
          ? K
          : never
        : never
      : One extends { flow: 'in' }
        ? never
        : Certain<One> extends (Test extends 'certain' ? true : false)
          ? K
          : never
    : never;
}[keyof F];

type Flat<T> = { [K in keyof T]: T[K] };

type Anything = { readonly [name: string]: unknown };

/**
 * The arguments of a structure, by the kernel's field names. For an unknown structure, any names.
 */
export type Inputs<F extends Fields> = string extends keyof F
  ? Anything
  : Flat<
      { [K in Names<F, 'required'>]: Input<F[K]> } & { [K in Names<F, 'optional'>]?: Input<F[K]> }
    >;

/** The results of a structure, by the kernel's field names. For an unknown structure, any names. */
export type Outputs<F extends Fields> = string extends keyof F
  ? Anything
  : Flat<
      { [K in Names<F, 'certain'>]: Output<F[K]> } & { [K in Names<F, 'possible'>]?: Output<F[K]> }
    >;

/** The arguments of a command. */
export type Arguments<C extends Command> = Inputs<C['fields']>;

/** The results of a command. */
export type Results<C extends Command> = Outputs<C['fields']>;
