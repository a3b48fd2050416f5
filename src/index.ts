/**
 * An eBPF application on the host, its programs in the guest's kernel.
 *
 * @module waep
 */
export * from './bpf/index.js';
export * from './btf/index.js';
export {
  type Call,
  type CallBuffer,
  type ChainedCall,
  type ChainReply,
  type Copied,
  type Handle,
  type InOut,
  type IoctlCall,
  NetlinkOption,
  type NetlinkRequest,
  type PerfOpenCall,
  Relocation,
  type Reply,
} from './call.js';
export * from './codec/index.js';
export { errnoName, errnoNumber } from './errno.js';
export { type ErrorCode, type ErrorDetail, type SystemError, WaepError } from './errors.js';
export type { KernelInfo, SessionLimits } from './frame/index.js';
export * from './kernel/index.js';
export * from './session/index.js';
export { Session } from './session.js';
