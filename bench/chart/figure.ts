import type { TopLevelSpec } from 'vega-lite';

/** A chart of an experiment, and its line in `results/README.md`. */
export interface Figure {
  /** The file's name in the run's folder, without its extension. */
  file: string;
  title: string;
  /** What of the thesis it corresponds to, such as `Figure 4`, or `beyond the thesis`. */
  origin: string;
  /** How it relates to that: reproduced, reproduced in shape, new. */
  status: string;
  spec: TopLevelSpec;
}
