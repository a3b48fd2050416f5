// Runs the tests whose paths begin with one of the arguments, or all of them, and ends with what
// failed and a line "N passed, N failed". Two files run at a time. Those that measure, or that keep
// both cores of a small machine busy, run one at a time.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { failures } from './failures.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const wanted = process.argv
  .slice(2)
  .map((path) => path.replace(/^(?!dist\/)/, 'dist/').replace(/\.ts$/, '.js'));
// What takes longer than one would wait for every time.
const onRequest = [
  'nested',
  'device',
  'slow',
  'soak',
  'lifetimes',
  'package',
  'boots',
  'users',
].map((name) => `dist/test/${name}/`);
const files = readdirSync('dist/test', { recursive: true })
  .map((name) => join('dist/test', name))
  .filter((name) => name.endsWith('.test.js'))
  // What was compiled from a source that is gone would still run.
  .filter((name) => sourceExists(name))
  .filter((name) =>
    wanted.length === 0
      ? !onRequest.some((prefix) => name.startsWith(prefix))
      : wanted.some((prefix) => name.startsWith(prefix)),
  )
  .sort();
const unknown = wanted.filter((prefix) => !files.some((name) => name.startsWith(prefix)));
if (unknown.length > 0) {
  console.error(`no test is below ${unknown.join(' or ')}`);
  process.exit(1);
}
const alone = files.filter((name) => /^dist\/test\/(nested|device|slow|soak)\//.test(name));
const together = files.filter((name) => !alone.includes(name));

function sourceExists(name) {
  try {
    readFileSync(name.replace(/^dist\//, '').replace(/\.js$/, '.ts'));
    return true;
  } catch {
    return false;
  }
}

const total = { pass: 0, fail: 0, skip: 0 };
const failed = [];
let status = 0;

/** Has tap show on the terminal what `output` brings. Resolves when it has shown everything. */
function reporter(output) {
  const child = spawn(process.execPath, ['node_modules/tap/dist/esm/run.mjs', 'run', '-'], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  output.pipe(child.stdin);
  return new Promise((resolve) => child.on('close', resolve));
}

async function run(names, jobs) {
  if (names.length === 0) return;
  const tests = spawn(process.execPath, ['scripts/tap.mjs', `${jobs}`, ...names], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => tests.on('close', resolve));
  const shown = process.stdout.isTTY ? reporter(tests.stdout) : undefined;
  let text = '';
  tests.stdout.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
    if (shown === undefined) process.stdout.write(chunk);
  });
  const code = await ended;
  await shown;
  status ||= code ?? 1;
  failed.push(...failures(text));
  const summary = text.match(/^# \{ total: .*\}$/gm)?.at(-1) ?? '';
  for (const key of Object.keys(total)) {
    total[key] += Number(summary.match(new RegExp(`${key}: (\\d+)`))?.[1] ?? 0);
  }
}

await run(together, 2);
await run(alone, 1);
if (status !== 0 && total.fail === 0) total.fail = 1;
if (failed.length > 0) console.log(`\n${failed.join('\n')}`);
const skipped = total.skip === 0 ? '' : `, ${total.skip} skipped`;
console.log(`\n${total.pass} passed, ${total.fail} failed${skipped}`);
process.exitCode = status;
