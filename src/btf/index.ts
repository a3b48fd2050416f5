export { BtfTypes } from './btf.js';
export { functionOffsets } from './functions.js';
export type {
  BtfArray,
  BtfComposite,
  BtfEnum,
  BtfFloat,
  BtfForward,
  BtfInt,
  BtfKind,
  BtfMember,
  BtfPrototype,
  BtfReference,
  BtfSection,
  BtfTag,
  BtfType,
  BtfVariable,
  TypeId,
} from './types.js';
