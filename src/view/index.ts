export { GuestFiles } from './guest-files.js';
export { openGuestPipe } from './guest-pipe.js';
export { isGuestCgroup, isGuestPath, isLive } from './paths.js';
