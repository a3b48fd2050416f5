import v8 from 'node:v8';
import type { Test } from 'tap';
import { until } from '../until.js';

/** A class, whether or not its constructor is private. */
export interface Class {
  readonly prototype: object;
}

/** Since Node 20.13 and 22: @types/node 20 does not know of it. */
type Count = (type: Class, options: { format: 'count' }) => number;

/** How many objects of a class are alive. It collects all garbage before it counts. */
export function alive(type: Class): number {
  const { queryObjects } = v8 as unknown as { queryObjects?: Count };
  if (queryObjects === undefined) {
    throw new Error(`Node ${process.version} cannot count objects; use 20.13, 22 or later`);
  }
  return queryObjects(type, { format: 'count' });
}

/**
 * Checks that objects which are opened and closed are collected afterwards: makes `use` happen
 * `times` times, one after the other, and compares how many objects of each class are alive with
 * how many were alive after its first ten times.
 */
export async function noneStays(
  t: Test,
  classes: Readonly<Record<string, Class>>,
  times: number,
  use: () => Promise<void>,
): Promise<void> {
  const names = Object.keys(classes);
  const count = () => names.map((name) => alive(classes[name] as Class));
  // What is under way in other processes may hold objects, too.
  const settled = async (good: (counts: number[]) => boolean): Promise<number[]> => {
    let counts: number[] = [];
    const look = () => {
      counts = count();
      return good(counts);
    };
    await until('all to be collected', look).catch(() => {});
    return counts;
  };
  for (let i = 0; i < 10; i++) await use();
  let last: number[] = [];
  const before = await settled((counts) => {
    const still = counts.every((n, i) => n === last[i]);
    last = counts;
    return still;
  });
  for (let i = 0; i < times; i++) await use();
  const after = await settled((counts) => counts.every((n, i) => n <= (before[i] as number)));
  names.forEach((name, i) => {
    const stay = (after[i] as number) - (before[i] as number);
    t.ok(stay <= 0, `${name}: ${Math.max(stay, 0)} alive of ${times} times`);
  });
}
