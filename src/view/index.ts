export { GuestCache } from './guest-cache.js';
export { copiedFrom, GuestFiles } from './guest-files.js';
export { openGuestPipe, readGuestPipe } from './guest-pipe.js';
export { type MountFile, mergeMounts } from './mounts.js';
export {
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
