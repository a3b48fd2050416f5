/**
 * Guests to run the agent in: images, machines, and their ends on the host.
 *
 * @module
 */

export { buildImage, type GuestFile, type Image, type ImageOptions } from './image/image.js';
export { findKernel, type Kernel, type KernelChoice } from './image/kernel.js';
export type { Progress } from './image/progress.js';
export { compileStatic } from './image/static.js';
export {
  type Ending,
  EXEC_PORT,
  type ExecDaemon,
  type ExecOptions,
  type ExecResult,
  type GuestProcess,
  type SpawnOptions,
} from './vm/exec.js';
export {
  AGENT_PORT,
  type AgentOptions,
  type BootOptions,
  boot,
  Guest,
  type GuestInfo,
} from './vm/guest.js';
export { ensurePrivateNetwork, inPrivateNetwork } from './vm/netns.js';
export {
  type AcceleratorChoice,
  type AcceleratorName,
  acceleratorNames,
} from './vm/qemu/accelerator.js';
export type { Device, Machine } from './vm/qemu/devices.js';
export type { NetworkChoice } from './vm/qemu/network.js';
export { findMultiplexer, multiplexerProblem, type VsockChoice } from './vm/qemu/vsock.js';
