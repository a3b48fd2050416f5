export type { Bind } from './launch.js';
export { type Ending, type RunOptions, run } from './supervisor.js';
