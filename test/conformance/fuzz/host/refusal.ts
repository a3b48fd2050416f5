import { type ErrorCode, WaepError } from '../../../../src/errors.js';

/**
 * Runs code that may refuse its input. Returns its value, or `undefined` after a refusal with one
 * of the codes. Throws all other errors.
 */
export function unlessRefused<T>(codes: readonly ErrorCode[], run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof WaepError && codes.includes(error.code)) return undefined;
    throw error;
  }
}
