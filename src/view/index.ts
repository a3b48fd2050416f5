export { GuestFiles } from './guest-files.js';
export { openGuestPipe } from './guest-pipe.js';
export { isGuestPath, isLive } from './paths.js';
