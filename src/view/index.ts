export { GuestCache } from './guest-cache.js';
export { GuestFiles } from './guest-files.js';
export { openGuestPipe, type PipeEvents, readGuestPipe } from './guest-pipe.js';
export { isGuestCgroup, isGuestPath, isLive, isProgramFile, processOf } from './paths.js';
export { RecentFiles } from './recent-files.js';
