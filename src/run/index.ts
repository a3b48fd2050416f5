export type { Bind } from './launch.js';
export { outputPipe } from './output-pipe.js';
export { RELEASE_MS, Standby, type StandbyOptions } from './standby.js';
export { type Ending, GUEST_GONE, type RunOptions, run } from './supervisor.js';
