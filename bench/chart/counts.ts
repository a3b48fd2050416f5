import type { Environment } from '../environment.js';
import { countKinds, countMetric, type Load } from '../metrics.js';
import { findRow } from '../summary.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { count, significant } from './format.js';
import { textTable, whole } from './panels.js';
import { answer, rowsOf, sheet, vsockOf } from './sheet.js';
import { armName, inOrder } from './theme.js';

/** What a message or a MiB takes of each kind, by transport. */
export function countsFigure(
  summary: Summary,
  environment: Environment,
  loads: readonly Load[],
): Figure {
  const arms = inOrder([...new Set(summary.rows.map(({ arm }) => arm))].map((arm) => ({ arm })));
  const each = (arm: string, kind: (typeof countKinds)[number], load: Load | undefined) => {
    const row = load && findRow(summary, arm, countMetric(kind, load));
    return row && load && significant(row.p50 / load.times);
  };
  const [echoes] = loads;
  const vsock = vsockOf(summary);
  const [here, there] = [vsock, 'tcp'].map((arm) =>
    (['kicks', 'interrupts', 'switches in the guest'] as const).map((kind) =>
      each(arm, kind, echoes),
    ),
  );
  const title = answer(
    environment.title,
  )`A round trip of 64 B takes ${here?.[0]} kicks, ${here?.[1]} interrupts and ${here?.[2]} switches in the guest by ${armName(vsock)}, and ${there?.[0]}, ${there?.[1]} and ${there?.[2]} by TCP`;
  return sheet({
    file: 'counts',
    title,
    environment,
    better: 'lower',
    drawn: loads.flatMap((load) =>
      countKinds.flatMap((kind) => rowsOf(summary, countMetric(kind, load))),
    ),
    rows: loads.map((load) => [
      textTable({
        title: `Per ${load.per}, of ${count(load.times)} ${load.name}`,
        rows: [
          ['', ...arms.map(({ arm }) => armName(arm))],
          ...countKinds.map((kind) => [
            kind,
            ...arms.map(({ arm }) => each(arm, kind, load) ?? '–'),
          ]),
        ],
        width: whole,
      }),
    ]),
  });
}
