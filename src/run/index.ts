export { outputPipe } from './output-pipe.js';
export { RELEASE_MS, Standby } from './standby.js';
export { GUEST_GONE, type RunOptions, run } from './supervisor.js';
