import { failure } from './errors.js';
import { nearest } from './nearest.js';

/** The name of every option of an interface, so that the compiler finds one that is missing. */
export type OptionNames<Options> = { readonly [Name in keyof Required<Options>]: true };

/** The names of options, for operations of any interface. */
export type AnyOptionNames = Readonly<Record<string, true>>;

/**
 * Refuses options that an operation does not have: a misspelt one would be passed over in silence.
 * Those that are undefined pass.
 *
 * @param elsewhere what to do instead, by names that are options of something else
 * @throws ERR_OPTION_INVALID for what is no object, and ERR_OPTION_UNKNOWN with what was meant
 */
export function refuseUnknownOptions(
  operation: string,
  options: unknown,
  names: AnyOptionNames,
  elsewhere: Readonly<Record<string, string>> = {},
): void {
  if (typeof options !== 'object' || options === null) {
    const value = typeof options === 'function' ? 'a function' : options;
    throw failure('ERR_OPTION_INVALID', { option: 'options', value, expected: 'an object' });
  }
  // Calls of the kernel come through here: nothing is allocated unless something is wrong.
  for (const option in options) {
    if (Object.hasOwn(names, option)) continue;
    if ((options as Record<string, unknown>)[option] === undefined) continue;
    const known = Object.keys(names);
    const meant = nearest(option, known);
    const guess = meant === undefined ? `It has ${known.join(', ')}.` : `Did you mean ${meant}?`;
    throw failure('ERR_OPTION_UNKNOWN', { option, operation, cure: elsewhere[option] ?? guess });
  }
}
