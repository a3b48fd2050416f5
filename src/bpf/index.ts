export * as rows from './commands.js';
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
  type Facts,
  iterTargetNamed,
  type MapFacts,
  type ObjectFacts,
  valueBytes,
} from './facts.js';
export { Pseudo } from './fds.js';
export * as insn from './insn.js';
export { KnownMaps } from './known-maps.js';
export { fits, leastOf, type MapKind, mapKind, type Sizes } from './map-kinds.js';
export type { Memory, Write } from './memory.js';
export { type Recipe, type RecipePointer, recipeOf, recipeWords } from './recipe.js';
export type { Command, FdKind, IterTarget, Struct } from './rows.js';
export { commands, shapeOf } from './table.js';
export type { Arguments, Ref, Results } from './types.js';
