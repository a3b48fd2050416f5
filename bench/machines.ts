/* Whether what was promised holds on each machine that the bench was run on. */
import type { Environment } from './environment.js';
import type { DerivedRun } from './experiment.js';
import { verdict } from './verdict.js';

/** The processors of a machine, by which its runs are told apart. */
export function machineOf({ host }: Environment): string {
  return `${host.cpus} × ${host.cpuModel}`;
}

/**
 * `results/machines.md`: every comparison that has a bound, or a figure in the thesis, on each
 * machine.
 *
 * @param runs the newest run of each experiment on each machine
 */
export function machinesPage(runs: readonly DerivedRun[]): string {
  const experiments = [...new Set(runs.map(({ experiment }) => experiment))];
  return [
    '# On each machine',
    '',
    'This page is made by `npm run bench`; do not edit it. It has the newest run of each experiment on',
    'each machine, and every comparison with a bound that was set before the runs, or with a figure in',
    'the thesis. [README.md](README.md) explains the figures, and has all of the newest run.',
    '',
    ...experiments.flatMap((experiment) =>
      section(runs.filter((one) => one.experiment === experiment)),
    ),
  ].join('\n');
}

/** The part of one experiment, whose newest run on each machine `runs` are. */
function section(runs: readonly DerivedRun[]): string[] {
  const machines = runs.map(({ environment }) => machineOf(environment)).sort();
  const cells = new Map<string, Map<string, string>>();
  for (const { environment, summary } of runs) {
    for (const one of summary.comparisons) {
      if (one.bound === undefined && one.thesis === undefined) continue;
      const { what, value, interval, expectation } = verdict(one);
      const row = cells.get(what) ?? new Map<string, string>();
      cells.set(what, row.set(machineOf(environment), `${value} (${interval}), ${expectation}`));
    }
  }
  const [first] = runs;
  if (first === undefined || cells.size === 0) return [];
  return [
    `## ${first.experiment.title}`,
    '',
    ...runs.map(
      ({ experiment, environment }) =>
        `- ${machineOf(environment)}: [${environment.run}](${experiment.name}/${environment.run}/environment.json), ${guestOf(environment)}`,
    ),
    '',
    `| comparison | ${machines.join(' | ')} |`,
    `|---|${'---|'.repeat(machines.length)}`,
    ...[...cells].map(
      ([what, row]) =>
        `| ${what} | ${machines.map((machine) => row.get(machine) ?? 'not run').join(' | ')} |`,
    ),
    '',
  ];
}

function guestOf({ accel, guest }: Environment): string {
  if (guest === undefined) return 'no guest';
  const plain = accel === 'kvm' ? 'guest under KVM' : 'emulated guest';
  const kind = guest.outer === undefined ? plain : 'emulated guest in a guest';
  return `${kind} with Linux ${guest.kernel}`;
}
