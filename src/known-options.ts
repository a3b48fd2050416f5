import { failure } from './errors.js';
import { nearest } from './nearest.js';

/** The name of every option of an interface, so that the compiler finds one that is missing. */
export type OptionNames<Options> = { readonly [Name in keyof Required<Options>]: true };

/**
 * Refuses options that an operation does not have: a misspelt one would be passed over in silence.
 * Those that are undefined pass.
 *
 * @throws ERR_OPTION_INVALID for what is no object, and ERR_OPTION_UNKNOWN with what was meant
 */
export function refuseUnknownOptions<Options>(
  operation: string,
  options: unknown,
  names: OptionNames<Options>,
): void {
  if (typeof options !== 'object' || options === null) {
    throw failure('ERR_OPTION_INVALID', {
      option: `options of ${operation}`,
      value: options,
      expected: 'an object',
    });
  }
  for (const [option, value] of Object.entries(options)) {
    if (value === undefined || Object.hasOwn(names, option)) continue;
    const meant = nearest(option, Object.keys(names));
    const cure =
      meant === undefined ? `It has ${Object.keys(names).join(', ')}.` : `Did you mean ${meant}?`;
    throw failure('ERR_OPTION_UNKNOWN', { option, operation, cure });
  }
}
