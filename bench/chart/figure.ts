/** A chart of an experiment, and its line in `results/README.md`. */
export interface Figure {
  /** The file's name in the run's folder, without its extension. */
  file: string;
  /** The answer that the chart gives, computed from the samples. */
  title: string;
  /** The part of the thesis that it corresponds to, such as `Figure 4`, or `beyond the thesis`. */
  origin: string;
  /** How it relates to that part: reproduced, reproduced in shape, new. */
  status: string;
  /** The document. The same samples always give the same one. */
  svg: string;
}
