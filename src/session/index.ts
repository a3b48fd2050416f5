export { GuestObject } from './guest-object.js';
export { BpfMap, type MapOptions } from './map.js';
export { Link, Program, type ProgramOptions } from './program.js';
export {
  type CallOptions,
  Session,
  type SessionOptions,
  type SessionStatistics,
} from './session.js';
