import { InvalidArgumentError } from 'commander';

/** Reads an option's value as a whole number. */
export function wholeNumber(least: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (Number.isInteger(number) && number >= least) return number;
    throw new InvalidArgumentError(`Expected a whole number, ${least} or more.`);
  };
}
