import { join } from 'node:path';
import { packageFolder } from '../../../src/paths.js';
import { compileStatic } from '../../image/static.js';
import { runTool } from '../../tools.js';

let measured: Promise<number> | undefined;

/** The frequency of this machine's time stamp counter in kHz, measured once. */
export function tscKhz(): Promise<number> {
  measured ??= compileStatic(join(packageFolder, 'guest/agent/exec/tsc-khz.c'))
    .then((program) => runTool(program, []))
    .then(Number);
  return measured;
}
