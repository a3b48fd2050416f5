import { type ErrorCode, WaepError } from '../../../../src/errors.js';

/**
 * Runs what may refuse its input and returns its value, or `undefined` when it did refuse. Any error
 * but one of the codes is thrown on.
 */
export function unlessRefused<T>(codes: readonly ErrorCode[], run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof WaepError && codes.includes(error.code)) return undefined;
    throw error;
  }
}
