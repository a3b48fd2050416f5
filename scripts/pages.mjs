// Checks what the pages for people refer to: the links and their headings, the paths, the scripts of
// npm. Checks, too, that README.md can be read in five minutes, and that results/ has no path of the
// machine where they were made.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const README_LINES = 150;
/** The folders of the repository; those that are made are not there in a fresh clone. */
const FOLDERS = 'addon|bench|bin|cli|docs|examples|guest|results|scripts|src|test|\\.github|\\.ci';

const pages = [
  ...readdirSync('.'),
  ...readdirSync('docs', { recursive: true }).map((name) => join('docs', name)),
  'examples/README.md',
].filter((name) => name.endsWith('.md') && existsSync(name));
const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'));
const problems = [];

/** The anchor that GitHub gives a heading. */
function anchorOf(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');
}

function anchorsOf(page) {
  const text = readFileSync(page, 'utf8').replace(/^```.*?^```$/gms, '');
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading));
}

function checkLinks(page, text) {
  for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    const [path, anchor] = target.split('#');
    const file = path === '' ? page : join(dirname(page), path);
    if (!existsSync(file)) problems.push(`${page}: the link to ${target} leads nowhere`);
    else if (anchor !== undefined && !anchorsOf(file).includes(anchor)) {
      problems.push(`${page}: ${relative('.', file)} has no heading #${anchor}`);
    }
  }
}

function checkPaths(page, text) {
  const path = new RegExp(`\`((?:${FOLDERS})/[^\`\\s*{…]*)\``, 'g');
  for (const [, name] of text.matchAll(path)) {
    if (/^results\/\./.test(name)) continue;
    if (!existsSync(name)) problems.push(`${page}: there is no ${name}`);
    else if (name.endsWith('/') && !statSync(name).isDirectory()) {
      problems.push(`${page}: ${name} is no folder`);
    }
  }
}

function checkScripts(page, text) {
  for (const [, name] of text.matchAll(/\bnpm run (?:--silent )?([a-z:-]+)/g)) {
    if (!(name in scripts)) problems.push(`${page}: package.json has no script "${name}"`);
  }
}

for (const page of pages) {
  const text = readFileSync(page, 'utf8');
  checkLinks(page, text);
  // What a release had in its time may be elsewhere now.
  if (page === 'CHANGELOG.md') continue;
  checkPaths(page, text);
  checkScripts(page, text);
}
/** A record that people read elsewhere says nothing of where it was made. */
function checkResults() {
  const texts = readdirSync('results', { recursive: true })
    .filter((name) => /\.(md|jsonl?)$/.test(name))
    .map((name) => join('results', name));
  for (const name of texts) {
    const [, path] =
      /(?<![\w.])(\/(?:root|home|work)\/\S{0,60})/.exec(readFileSync(name, 'utf8')) ?? [];
    if (path !== undefined) problems.push(`${name}: there is a path of one machine: ${path}`);
  }
}

checkResults();
const lines = readFileSync('README.md', 'utf8').trimEnd().split('\n').length;
if (lines > README_LINES) problems.push(`README.md has ${lines} lines; at most ${README_LINES}`);

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
