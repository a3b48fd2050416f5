export {
  type BpfOptions,
  type CallOptions,
  GuestKernel,
  type Outcome,
} from './guest-kernel.js';
export { GuestObject } from './guest-object.js';
export { BpfMap, type MapOptions } from './map.js';
export { Link, Program, type ProgramOptions } from './program.js';
export {
  Session,
  type SessionOptions,
  type SessionStatistics,
} from './session.js';
