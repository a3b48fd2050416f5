import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The `waep` command. */
export const cli = fileURLToPath(new URL('../../cli/waep.cjs', import.meta.url));

/** Compiles an application of test/run, program.c if none is named, and removes it with `dispose`. */
export function application(name = 'program'): { path: string; dispose: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'waep-run-'));
  const path = join(folder, name);
  const source = `test/run/${name}.c`;
  execFileSync('gcc', ['-O1', '-Wall', '-Werror', '-static', '-pthread', '-o', path, source]);
  return { path, dispose: () => rmSync(folder, { recursive: true, force: true }) };
}
