/* What the suites that write into results/ can be told. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { type CaseReport, runConformance } from './transport/conformance-run.js';

const scripts = {
  differential: fileURLToPath(new URL('./conformance/differential/main.js', import.meta.url)),
  compat: fileURLToPath(new URL('./conformance/compat/main.js', import.meta.url)),
  suites: fileURLToPath(new URL('./conformance/suites/main.js', import.meta.url)),
};
const run = (suite: keyof typeof scripts, ...words: string[]) =>
  promisify(execFile)(process.execPath, [scripts[suite], ...words]);

t.test('the help names the options for a kernel, a part and the record', async (t) => {
  const { stdout: differential } = await run('differential', '--help');
  for (const option of ['--kernel', '--part', '--record']) t.match(differential, option);
  t.match(differential, /5\.10, 6\.1, 6\.12/);
  const { stdout: compat } = await run('compat', '--help');
  const { stdout: suites } = await run('suites', '--help');
  for (const option of ['--kernel', '--only', '--record']) {
    t.match(compat, option);
    t.match(suites, option);
  }
});

t.test('what cannot be meant is refused before a guest boots', async (t) => {
  const refused = async (expected: RegExp, ...words: Parameters<typeof run>) => {
    const { stderr } = await run(...words).catch((error: { stderr: string }) => error);
    t.match(stderr, expected, words.join(' '));
  };
  await refused(/Expected one of maps, batches/, 'differential', '--part', 'mops');
  await refused(/--record takes all kernels/, 'differential', '--record', '--part', 'maps');
  await refused(
    /cannot be used with option '--join/,
    'compat',
    '--join',
    'guest.json',
    '--kernel',
    '6.12',
  );
  await refused(
    /cannot be used with option '--join/,
    'suites',
    '--join',
    'guest.json',
    '--kernel',
    '6.12',
  );
});

t.test('cases that are left out are reported as skipped, with what to do', async (t) => {
  const reports: CaseReport[] = [];
  const transport = { peer: 'unix:/none', halfClose: true } as Parameters<typeof runConformance>[0];
  const part = '1 000 connections';
  await runConformance(transport, (report) => reports.push(report), part, [[part, 'try: another']]);
  t.match(reports, [{ case: new RegExp(part), outcome: 'skipped', why: 'try: another' }]);
});
