import type { Experiment } from '../experiment.js';
import { codec } from './codec.js';
import { rtt } from './rtt.js';
import { softwareOverhead } from './software-overhead.js';
import { thesis } from './thesis.js';

/** All experiments, in the order in which they run and are reported. */
export const experiments: readonly Experiment[] = [thesis, rtt, softwareOverhead, codec];
