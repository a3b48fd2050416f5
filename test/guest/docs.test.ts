/* The console blocks of README.md and docs/, run as a reader would. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';
import { runPage, stepsOf } from '../docs/console.js';

t.setTimeout(600_000);

t.test('the pages, in the guest that README.md boots', async (t) => {
  await using readme = await runPage('README.md', {});
  const { VM } = readme.variables;
  t.match(VM, /^vsock/, 'README.md');
  const pages = readdirSync(join(packageFolder, 'docs'), { recursive: true, encoding: 'utf8' })
    .map((name) => join('docs', name))
    .filter((name) => name.endsWith('.md') && stepsOf(name).some((step) => 'line' in step));
  t.ok(pages.length > 1);
  for (const page of pages) {
    const run = runPage(page, { VM });
    await t.resolves(run, page);
    await (await run.catch(() => undefined))?.[Symbol.asyncDispose]();
  }
});
