/** Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, about `most` of them. */
export function evenTicks(low: number, high: number, most = 7): number[] {
  const least = (high - low) / Math.min(most, 7);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= least) ?? 10);
  const first = Math.ceil(low / step);
  const last = Math.floor(high / step);
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/** The numbers 1, 2 and 5 times any power of ten from `low` to `high`, both above zero. */
export function logarithmicTicks(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    ticks.push(...[1, 2, 5].map((factor) => factor * 10 ** power));
  }
  return ticks.filter((tick) => tick >= low && tick <= high);
}
