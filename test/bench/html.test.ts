import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { htmlPage } from '../../bench/html.js';
import { packageFolder } from '../../src/paths.js';

const results = join(packageFolder, 'results');
const markdown = readFileSync(join(results, 'README.md'), 'utf8');
const charts = new Map(
  [...markdown.matchAll(/!\[[^\]]*\]\(([^)]+\.svg)\)/g)].map(([, path = '']) => [
    path,
    readFileSync(join(results, path), 'utf8'),
  ]),
);

t.test('the page has all that the results have, in one file', async (t) => {
  const page = htmlPage(markdown, charts);
  t.equal([...page.matchAll(/<h2 /g)].length, [...markdown.matchAll(/^## /gm)].length);
  t.equal(
    [...page.matchAll(/<li><a href="#part-\d+">/g)].length,
    [...page.matchAll(/<h2 /g)].length,
  );
  t.ok(charts.size > 10, `${charts.size} charts`);
  t.equal([...page.matchAll(/src="data:image\/svg\+xml;base64,/g)].length, charts.size);
  t.notMatch(page, /src="(?!data:)/, 'nothing is loaded from elsewhere');
  const rows = markdown.split('\n').filter((line) => /^\| (?!---)/.test(line)).length;
  t.equal([...page.matchAll(/<tr>/g)].length, rows);
});

t.test('what is said in short is what the tables say', async (t) => {
  const [, short = '', tables = ''] = /^## In short$(.*?)(^## .*)/ms.exec(markdown) ?? [];
  const count = (outcome: string) =>
    [...tables.matchAll(new RegExp(`: ${outcome}\\b`, 'g'))].length;
  t.match(
    short,
    `${count('kept')} are kept, ${count('MISSED')} are missed and ${count('undecided')} are undecided`,
  );
  t.equal([...short.matchAll(/^- Missed, /gm)].length, count('MISSED'));
});

const browser = '/usr/bin/chromium';
const skip = existsSync(browser) ? false : 'chromium is missing (try: apt-get install chromium)';

/** Runs in the page: what is wider than the screen, and which blocks lie upon each other. */
const LOOK = `
const blocks = [...document.querySelector('main').children].map((one) => one.getBoundingClientRect());
const overlapping = blocks.filter((one, at) => at > 0 && one.top < blocks[at - 1].bottom - 1).length;
const missing = [...document.images].filter((one) => one.naturalWidth === 0).length;
const height = document.documentElement.scrollHeight;
const { scrollWidth, clientWidth } = document.documentElement;
document.title = JSON.stringify({ overlapping, missing, tooWide: scrollWidth > clientWidth, long: height > 10000 });
`;

t.test('a browser shows it on a desk and on a phone', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waep-page-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'page.html');
  const script = `<script>addEventListener('load', () => {${LOOK}});</script>`;
  writeFileSync(file, htmlPage(markdown, charts).replace('</html>', `${script}</html>`));
  for (const size of ['1200,900', '390,800']) {
    const dom = execFileSync(
      browser,
      [
        ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
        ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
        ...[`--user-data-dir=${join(folder, size)}`, `--window-size=${size}`],
        ...['--virtual-time-budget=5000', '--dump-dom', `file://${file}`],
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 64 * 1024 * 1024 },
    );
    const [, title = ''] = /<title>(.*?)<\/title>/.exec(dom) ?? [];
    t.same(JSON.parse(title), { overlapping: 0, missing: 0, tooWide: false, long: true }, size);
  }
});
