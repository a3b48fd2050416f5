import type { Environment } from '../environment.js';
import { onKernelMetric } from '../metrics.js';
import type { Summary } from '../types.js';
import type { Figure } from './figure.js';
import { ratioText } from './format.js';
import { half, pairs, rowPanel } from './panels.js';
import { point, sheet } from './sheet.js';

/** How much slower or faster the device is than TCP, by the guest's kernel. */
export function kernelsFigure(
  summary: Summary,
  environment: Environment,
  suites: readonly string[],
): Figure {
  // In all of them a larger ratio is worse for the device.
  const ratios = summary.comparisons.filter(({ kind }) => kind === 'ratio');
  const kernels = environment.guest?.kernel.split(', ') ?? [];
  const metrics = [...new Set(ratios.map(({ metric }) => metric.replace(/, kernel of .*$/, '')))];
  const values = ratios.map(({ value }) => value);
  const title =
    ratios.length === 0
      ? environment.title
      : `vsock in the process is faster than TCP in ${values.filter((value) => value < 1).length} of ${values.length} medians, surely in ${ratios.filter(({ ciHigh }) => ciHigh < 1).length}; its worst is ${ratioText(Math.max(...values))} × TCP’s time, its best ${ratioText(Math.min(...values))} ×`;
  const domain = [
    Math.min(...ratios.map(({ ciLow }) => ciLow)) * 0.92,
    Math.max(...ratios.map(({ ciHigh, bound = 0 }) => Math.max(ciHigh, bound))) * 1.08,
  ] as const;
  return sheet({
    file: 'kernels',
    title,
    environment,
    better: 'lower',
    drawn: ratios,
    logarithmic: true,
    rows: pairs(metrics).map((pair) =>
      pair.map((metric) =>
        rowPanel({
          title: `${metric}: time ÷ TCP’s`,
          groups: [
            {
              rows: suites.flatMap((suite, i) =>
                ratios
                  .filter((one) => one.metric === onKernelMetric(metric, suite))
                  .map((one) => ({
                    ...point({ ...one, arm: 'vsock-device' }),
                    label: `${/^\d+\.\d+/.exec(kernels[i] ?? '')?.[0] ?? ''} ${suite}`.trim(),
                  })),
              ),
            },
          ],
          width: half,
          logarithmic: true,
          print: String,
          mark: { value: 1, text: 'as TCP' },
          domain,
        }),
      ),
    ),
    notes: [
      'Red strokes: the bound of the hypothesis. Surely faster: the whole interval is below 1.',
    ],
  });
}
