/**
 * Guests to try things in. A guest is a virtual machine of QEMU with a Debian kernel and
 * an agent. It needs what `npx waep doctor` lists.
 *
 * @example
 * ```ts
 * import { Session } from 'waep';
 * import { boot } from 'waep/vm';
 *
 * await using guest = await boot({ vsock: 'device' });
 * await using session = await Session.connect(guest.vsock());
 * console.log(session.kernel.release);
 * ```
 *
 * @module waep/vm
 */

export { buildImage, type GuestFile, type Image, type ImageOptions } from './image/image.js';
export type { Kernel, KernelChoice } from './image/kernel.js';
export type { Progress } from './image/progress.js';
export type {
  Ending,
  ExecOptions,
  ExecResult,
  GuestProcess,
  SpawnOptions,
} from './vm/exec.js';
export {
  AGENT_PORT,
  type AgentOptions,
  type BootOptions,
  boot,
  Guest,
  type GuestInfo,
} from './vm/guest.js';
export type { AcceleratorChoice, AcceleratorName } from './vm/qemu/accelerator.js';
export type { Device, Machine } from './vm/qemu/devices.js';
export type { NetworkChoice } from './vm/qemu/network.js';
export type { VsockChoice } from './vm/qemu/vsock.js';
