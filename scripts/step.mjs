// What a person sees of a step that takes a while.
import { spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

export const cacheFolder =
  process.env.WAEP_CACHE_DIR ??
  join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'waep');

const QUIET_MS = 2000;

/** Runs a command; after two seconds says so, and at a terminal counts the time. */
export async function step(title, command, args, options = {}) {
  const logs = join(cacheFolder, 'logs');
  mkdirSync(logs, { recursive: true });
  const log = join(logs, `${title.replace(/\W+/g, '-')}.log`);
  const startMs = performance.now();
  const seconds = () => Math.round((performance.now() - startMs) / 1000);
  let announced = false;
  const timer = setInterval(() => {
    if (process.stderr.isTTY) process.stderr.write(`\r  ${title} … ${seconds()} s `);
    else if (!announced) process.stderr.write(`  ${title} …\n`);
    announced = true;
  }, QUIET_MS);
  const output = createWriteStream(log);
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let tail = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.pipe(output, { end: false });
    stream.setEncoding('utf8').on('data', (text) => {
      tail = (tail + text).slice(-4000);
    });
  }
  const status = await new Promise((resolve) => {
    child.on('error', (error) => {
      tail += error.message;
      resolve(127);
    });
    child.on('close', (code, signal) => resolve(code ?? signal));
  });
  clearInterval(timer);
  output.end();
  const clear = process.stderr.isTTY && announced ? '\r' : '';
  if (status === 0) {
    if (announced) process.stderr.write(`${clear}✔ ${title} (${seconds()} s)        \n`);
    return;
  }
  process.stderr.write(`${clear}✘ ${title}\n\n${tail.trim()}\n\n`);
  throw new Error(`"${[command, ...args].join(' ')}" ended with ${status}. The whole log: ${log}`);
}
