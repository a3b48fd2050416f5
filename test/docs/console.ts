/*
 * Runs the console blocks of a page as a reader would, and compares what they print.
 *
 * A line that begins with "# " is a command; what follows is its output. In an output "…" stands for
 * anything in its line, and alone on a line for any lines. Releases of kernels, times and addresses
 * of guests are those of another day: each matches its like, and a later command that names the
 * page's address gets the one that was printed. "^C" at the end of an output interrupts the command.
 * A command that ends with "&" stays until the end of the page. A block whose fence has a second
 * word is a file of that name.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageFolder } from '../../src/paths.js';
import { until } from '../until.js';

/** A command of a page, with the output that the page shows. */
interface Command {
  readonly line: string;
  readonly output: string;
}

type Step = { readonly file: string; readonly text: string } | Command;

/** What a page's blocks ask for, in their order. */
export function stepsOf(page: string): Step[] {
  const text = readFileSync(join(packageFolder, page), 'utf8');
  return [...text.matchAll(/^```(\S+)(?: (\S+))?\n(.*?)^```$/gms)].flatMap(
    ([, language, file, body = '']): Step[] => {
      if (file !== undefined) return [{ file, text: body }];
      if (language !== 'console') return [];
      if (!body.startsWith('# ')) throw new Error(`${page}: a block does not begin with a command`);
      const commands = body.slice(2).split(/^# /m);
      return commands.map((command) => {
        const [line = '', ...output] = command.split('\n');
        return { line, output: output.join('\n').trimEnd() };
      });
    },
  );
}

const kinds = {
  address: String.raw`vsock-device:\/\S+?:\d+`,
  tcp: String.raw`tcp:127\.0\.0\.1:\d+`,
  log: String.raw`\/\S+\/serial\.log`,
  release: String.raw`\d+\.\d+\.\d+-\S*amd64`,
  time: String.raw`\d+(?:\.\d+)? (?:s|ms)\b`,
};
const volatile = new RegExp(
  Object.entries(kinds)
    .map(([name, pattern]) => `(?<${name}>${pattern})`)
    .join('|'),
  'g',
);

/** An expression that matches an output as a page shows it, and the page's words that it captures. */
function expectation(output: string): { pattern: RegExp; words: string[] } {
  const words: string[] = [];
  const literal = (text: string) =>
    text
      .replace(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`)
      .replace(/\n…$/, String.raw`(?:\n[^]*)?`)
      .replace(/^…\n/gm, String.raw`(?:.*\n)*?`)
      .replaceAll('…', '.*?')
      .replace(/[ \t]+/g, String.raw`[ \t]+`);
  let source = '';
  let from = 0;
  for (const match of output.matchAll(volatile)) {
    const kind = Object.entries(match.groups ?? {}).find(([, word]) => word !== undefined)?.[0];
    source += `${literal(output.slice(from, match.index))}(${kinds[kind as keyof typeof kinds]})`;
    words.push(match[0]);
    from = match.index + match[0].length;
  }
  return { pattern: new RegExp(`^${source}${literal(output.slice(from))}$`), words };
}

/** How long a command may take: `waep vm` boots a guest. */
const COMMAND_MS = 180_000;

/** A page that was run; what it left running ends with it. */
export interface PageRun extends AsyncDisposable {
  /** The variables that the page exported, and those it began with. */
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** Runs everything that a page asks for. What is wrong is thrown, with what was printed. */
export async function runPage(
  page: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<PageRun> {
  const folder = mkdtempSync(join(tmpdir(), 'waep-page-'));
  const bin = join(folder, 'node_modules/.bin');
  mkdirSync(bin, { recursive: true });
  symlinkSync(packageFolder, join(folder, 'node_modules/waep'));
  symlinkSync(join(packageFolder, 'bin/waep'), join(bin, 'waep'));
  const variables: Record<string, string | undefined> = {
    ...process.env,
    ...env,
    NO_COLOR: '1',
    PATH: `${join(packageFolder, 'bin')}:${process.env.PATH}`,
  };
  const staying: ChildProcess[] = [];
  const printed = new Map<string, string>();
  const end = async () => {
    await Promise.all(staying.map(interrupt));
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    for (const step of stepsOf(page)) {
      if ('file' in step) writeFileSync(join(folder, step.file), step.text);
      else await run(step);
    }
    return { variables, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }

  async function run({ line, output }: Command): Promise<void> {
    let command = line;
    for (const [word, actual] of printed) command = command.replaceAll(word, actual);
    const [, name, value] = /^export (\w+)=(\S+)$/.exec(command) ?? [];
    if (name !== undefined) {
      variables[name] = value;
      return;
    }
    const stays = command.endsWith(' &');
    const interrupted = /(^|\n)\^C$/.test(output);
    const { pattern, words } = expectation(output.replace(/\n?\^C$/, ''));
    // The package's own scripts are run where they are.
    const cwd = command.startsWith('npm ') ? packageFolder : folder;
    const script = `exec 2>&1\n${stays ? `exec ${command.slice(0, -2)}` : command}`;
    const child = spawn('bash', ['-c', script], {
      cwd,
      env: variables,
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    let ended = false;
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    child.once('close', () => {
      ended = true;
    });
    if (stays) staying.push(child);
    const said = () => text.trimEnd().match(pattern);
    try {
      const enough = stays || interrupted ? () => ended || said() !== null : () => ended;
      await until(`"${command}" to print what ${page} shows`, enough, { withinMs: COMMAND_MS });
    } finally {
      if (!stays) await interrupt(child);
    }
    const match = said();
    if (match === null) {
      throw new Error(`${page}: # ${line}\n--- shows\n${output}\n--- printed\n${text}`);
    }
    for (const [i, word] of words.entries()) printed.set(word, match[i + 1] ?? word);
  }
}

async function interrupt(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, 'exit');
  process.kill(-child.pid, 'SIGINT');
  await exited;
}
