/* The reference that `npm run docs` builds: no link in it is dead. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { packageFolder } from '../../src/paths.js';

t.setTimeout(1_800_000);

/** Where a page links to within the site, and what it can be linked to by. */
function readPage(path: string): { links: string[]; anchors: Set<string> } {
  const html = readFileSync(path, 'utf8');
  const all = (pattern: RegExp) => [...html.matchAll(pattern)].map(([, found = '']) => found);
  return { links: all(/ (?:href|src)="([^"]+)"/g), anchors: new Set(all(/ id="([^"]+)"/g)) };
}

t.test('every link of the reference leads somewhere', async (t) => {
  const site = t.testdir({});
  const typedoc = join(packageFolder, 'node_modules/typedoc/bin/typedoc');
  // A link that a comment cannot resolve ends it with an error.
  await promisify(execFile)(process.execPath, [typedoc, '--out', site], { cwd: packageFolder });
  const names = readdirSync(site, { recursive: true, encoding: 'utf8' });
  const pages = new Map(
    names
      .filter((name) => /\.(html|svg)$/.test(name))
      .map((name) => [join(site, name), readPage(join(site, name))]),
  );
  t.ok(pages.size > 50, `${pages.size} pages`);
  t.ok(names.includes('classes/waep.Session.html'));
  const dead: string[] = [];
  for (const [page, { links }] of pages) {
    for (const link of links) {
      if (/^[a-z]+:/.test(link)) continue;
      const [path = '', anchor = ''] = decodeURIComponent(link).split('#');
      const target = path === '' ? page : join(dirname(page), path);
      const found = anchor === '' ? existsSync(target) : pages.get(target)?.anchors.has(anchor);
      if (!found) dead.push(`${relative(site, page)}: ${link}`);
    }
  }
  t.same([...new Set(dead)], []);
});
