import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
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

/** Loads a page whose script leaves its findings, as JSON, in its title. */
function findings(folder: string, html: string, script: string, size: string): unknown {
  const file = join(folder, `${size}.html`);
  const ending = `<script>addEventListener('load', () => {${script}});</script>`;
  writeFileSync(file, `${html.replace('</html>', '')}${ending}</html>`);
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
  return JSON.parse(title);
}

function scratch(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'waep-page-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

t.test('a browser shows it on a desk and on a phone', { skip }, async (t) => {
  const folder = scratch(t);
  for (const size of ['1200,900', '390,800']) {
    const found = findings(folder, htmlPage(markdown, charts), LOOK, size);
    t.same(found, { overlapping: 0, missing: 0, tooWide: false, long: true }, size);
  }
});

/** Runs in a page of charts: texts that lie upon each other, are cut, or are too small. */
const READ = `
const wrong = [];
let texts = 0;
for (const svg of document.querySelectorAll('svg')) {
  const edge = svg.getBoundingClientRect();
  const boxes = [...svg.querySelectorAll('text')].map((one) => [one, one.getBoundingClientRect()]);
  texts += boxes.length;
  for (const [at, [one, box]] of boxes.entries()) {
    const cut = box.left < edge.left || box.right > edge.right || box.bottom > edge.bottom;
    if (cut) wrong.push('cut: ' + one.textContent);
    if (parseFloat(one.getAttribute('font-size')) < 11) wrong.push('small: ' + one.textContent);
    for (const [other, b] of boxes.slice(at + 1)) {
      const apart = box.right < b.left + 1 || b.right < box.left + 1 || box.bottom < b.top + 3 || b.bottom < box.top + 3;
      if (!apart) wrong.push(one.textContent + ' / ' + other.textContent);
    }
  }
}
document.title = JSON.stringify({ wrong: wrong.map(encodeURIComponent), many: texts > 500 });
`;

t.test('no text of a chart is small, cut, or upon another', { skip }, async (t) => {
  const html = `<!doctype html><html><meta charset="utf-8"><title></title><body>${[...charts.values()].join('\n')}</html>`;
  t.same(findings(scratch(t), html, READ, '900,900'), { wrong: [], many: true });
});
