import { packageFolder } from '../../src/paths.js';
import { ratio } from '../comparisons.js';
import { Disposables } from '../disposables.js';
import type { Experiment } from '../experiment.js';
import type { SideChoice } from './protocol.js';
import { openSide } from './side.js';

/**
 * Makes an experiment that compares this tree with another. It has every arm twice, once with the
 * code of each tree, and a ratio for each arm and metric that the experiment makes a statement
 * about. It leaves out arms that the experiment only compares with, such as plain C.
 *
 * @param folder where the other tree is, built
 * @param revision what its arms are called after
 */
export function versus(
  experiment: Experiment,
  { folder, revision, choice }: { folder: string; revision: string; choice: SideChoice['choice'] },
): Experiment {
  const former = (arm: string) => `${arm} at ${revision}`;
  const between = experiment.comparisons.filter(({ arm, against }) => arm !== against);
  const subjects = new Map(between.map((one) => [`${one.arm}\n${one.metric}`, one]));
  const wanted = new Set(between.map(({ arm }) => arm));
  const request: SideChoice = { experiment: experiment.name, choice };
  return {
    ...experiment,
    guest: false,
    comparisons: [...subjects.values()].map(({ arm, metric }) => ratio(arm, former(arm), metric)),
    async prepare() {
      await using resources = new Disposables();
      const now = resources.use(await openSide(packageFolder, request));
      const before = resources.use(await openSide(folder, request));
      const common = now.arms.filter((arm) => wanted.has(arm) && before.arms.includes(arm));
      const owned = resources.move();
      return {
        arms: common.flatMap((arm) => [
          { name: arm, measure: now.measure(arm) },
          { name: former(arm), measure: before.measure(arm) },
        ]),
        absent: [
          ...now.absent,
          ...before.absent.map(({ arm, why }) => ({ arm: former(arm), why })),
        ],
        ...(now.guest === undefined ? {} : { guest: now.guest }),
        [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
      };
    },
    figures: () => [],
  };
}
