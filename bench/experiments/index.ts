import type { Experiment } from '../experiment.js';
import { codec } from './codec.js';
import { counts } from './counts.js';
import { pipelining, sessions } from './crowds.js';
import { events } from './events.js';
import { kernels } from './kernels.js';
import { loopback } from './loopback.js';
import { mapOps } from './map-ops.js';
import { progSize } from './prog-size.js';
import { nestedRtt, rtt, rttOneCore } from './rtt.js';
import { softwareOverhead } from './software-overhead.js';
import { nestedThesis, thesis } from './thesis.js';
import { throughput } from './throughput.js';
import { tools } from './tools.js';

/**
 * Every experiment, in the order in which they run and are reported.
 *
 * @param suites of the Debian archive whose kernels are compared, instead of the usual ones
 */
export function experimentsWith(suites?: readonly string[]): readonly Experiment[] {
  return allExperiments.map((one) => (one.suites === undefined ? one : kernels(suites)));
}

/** The experiments of a run, with their usual kernels. */
export const experiments: readonly Experiment[] = [
  thesis,
  rtt,
  rttOneCore,
  throughput,
  counts,
  loopback,
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

/** Those that take a guest in a guest, which takes minutes to boot. */
const nestedExperiments: readonly Experiment[] = [nestedRtt, nestedThesis];

/** Every experiment, with the usual kernels. */
export const allExperiments: readonly Experiment[] = [...experiments, ...nestedExperiments];
