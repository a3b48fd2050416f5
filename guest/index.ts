/**
 * Guests to run the agent in: images, machines, and their ends on the host.
 *
 * @module
 */
export {
  AGENT_PORT,
  type AgentOptions,
  type BootOptions,
  boot,
  Guest,
  type GuestFacts,
} from './guest.js';
export { buildImage, type GuestFile, type Image, type ImageOptions } from './image/image.js';
export { findKernel, type Kernel, type KernelChoice } from './image/kernel.js';
export { compileStatic } from './image/static.js';
export {
  type Ending,
  type ExecOptions,
  type ExecResult,
  type GuestProcess,
  LAB_PORT,
  type SpawnOptions,
} from './lab.js';
export { ensurePrivateNetwork, inPrivateNetwork } from './netns.js';
export type { Progress } from './progress.js';
export {
  type AcceleratorChoice,
  type AcceleratorName,
  acceleratorNames,
} from './qemu/accelerator.js';
export type { Device, Machine } from './qemu/devices.js';
export type { NetworkChoice } from './qemu/network.js';
export { findMultiplexer, multiplexerProblem, type VsockChoice } from './qemu/vsock.js';
