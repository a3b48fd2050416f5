export { GuestCache } from './guest-cache.js';
export { GuestFiles } from './guest-files.js';
export { openGuestPipe, type PipeEvents, readGuestPipe } from './guest-pipe.js';
export { type MountFile, mergeMounts } from './mounts.js';
export {
  type Exception,
  exceptions,
  isBelowKernel,
  isCgroupPath,
  isGuestPath,
  isKernelDevice,
  isLive,
  isNamespace,
  isPinPath,
  isProcessRoot,
  isProgramFile,
  kernelPaths,
  processOf,
} from './paths.js';
export { RecentFiles } from './recent-files.js';
