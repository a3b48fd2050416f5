import { failure } from './errors.js';
import { nearest } from './nearest.js';

/** The name of every option of an interface, so that the compiler finds one that is missing. */
export type OptionNames<Options> = { readonly [Name in keyof Required<Options>]: true };

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
  names: readonly string[],
  elsewhere: Readonly<Record<string, string>> = {},
): void {
  if (typeof options !== 'object' || options === null) {
    const value = typeof options === 'function' ? 'a function' : options;
    throw failure('ERR_OPTION_INVALID', { option: 'options', value, expected: 'an object' });
  }
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined || names.includes(option)) continue;
    const meant = nearest(option, names);
    const guess = meant === undefined ? `It has ${names.join(', ')}.` : `Did you mean ${meant}?`;
    throw failure('ERR_OPTION_UNKNOWN', { option, operation, cure: elsewhere[option] ?? guess });
  }
}
