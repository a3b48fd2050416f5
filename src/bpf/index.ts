export * as rows from './commands.js';
export { fieldBytes } from './compile.js';
export {
  type CommonArguments,
  type CommonResults,
  type Encoded,
  type EncodedCall,
  encode,
  encodeRaw,
  type RawCall,
} from './encode.js';
export * as enums from './enums.js';
export {
  CODE_MASK,
  HELPER_CALL,
  IMMEDIATE_BITS,
  inKeys,
  inValues,
  KFUNC_CALL,
  knownSources,
  OFFSET_BITS,
  OPERATION_MASK,
  Pseudo,
  type Reference,
  references,
  SOURCE_BITS,
} from './fds.js';
export * as infos from './infos.js';
export * as insn from './insn.js';
export { KnownMaps } from './known-maps.js';
export {
  fits,
  leastOf,
  type MapKind,
  mapKind,
  mapKinds,
  type Recognition,
  type Sizes,
} from './map-kinds.js';
export type { Memory, Write } from './memory.js';
export * as netlink from './netlink.js';
export * as perf from './perf.js';
export type { Command, FdField, FdKind, Field, IterTarget, Struct, Use } from './rows.js';
export {
  batchTokenBytes,
  iterTargetNamed,
  type MapSpec,
  type MapSpecs,
  type ObjectSpecs,
  specOfInfo,
  specOfNew,
  valueBytes,
} from './specs.js';
export { commands, shapeOf } from './table.js';
export type { Arguments, Ref, Results } from './types.js';
