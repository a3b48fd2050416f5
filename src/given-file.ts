import { readFileSync } from 'node:fs';
import { failure } from './errors.js';

const reasons: Readonly<Record<string, string>> = {
  EISDIR: 'this is a folder',
  ENOENT: 'there is no such file',
};

/**
 * Reads a file that the user has named.
 *
 * @param option where the user has named it, such as `--policy`
 * @param expected what the file is to be, such as `a policy file`
 * @throws ERR_OPTION_INVALID with all of these when the file cannot be read
 */
export function readGivenFile(option: string, path: string, expected: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const why = reasons[code] ?? `the file cannot be read (${message})`;
    throw failure(
      'ERR_OPTION_INVALID',
      { option, value: path, expected: `${expected}; ${why}` },
      error,
    );
  }
}
