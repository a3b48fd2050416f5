import type { Experiment } from '../experiment.js';
import { codec } from './codec.js';
import { pipelining, sessions } from './crowds.js';
import { events } from './events.js';
import { kernels } from './kernels.js';
import { mapOps } from './map-ops.js';
import { progSize } from './prog-size.js';
import { rtt, rttOneCore } from './rtt.js';
import { softwareOverhead } from './software-overhead.js';
import { thesis } from './thesis.js';
import { throughput } from './throughput.js';
import { tools } from './tools.js';

/**
 * All experiments, in the order in which they run and are reported.
 *
 * @param suites of the Debian archive whose kernels are compared, instead of the usual ones
 */
export function experimentsWith(suites?: readonly string[]): readonly Experiment[] {
  return experiments.map((one) => (one.suites === undefined ? one : kernels(suites)));
}

/** All experiments, with their usual kernels. */
export const experiments: readonly Experiment[] = [
  thesis,
  rtt,
  rttOneCore,
  throughput,
  kernels(),
  mapOps,
  progSize,
  pipelining,
  sessions,
  events,
  softwareOverhead,
  tools,
  codec,
];
