import { join } from 'node:path';
import { compileStatic } from '../../guest/index.js';
import { packageFolder } from '../../guest/paths.js';

/** Where the guest has the echo server. */
export const ECHO = '/bin/waep-echo';

/** Compiles echo.c. */
export function compileEcho(): Promise<string> {
  return compileStatic(join(packageFolder, 'test/device/echo.c'));
}
