import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** What came of a program. */
export interface Outcome {
  status: number | null;
  signal: NodeJS.Signals | null;
  output: string;
  errors: string;
}

/** Starts a program in a process group of its own, as a terminal does for its foreground. */
export function start([file = '', ...words]: readonly string[], env: Record<string, string>) {
  const child = spawn(file, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', ...env },
    detached: true,
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const ended = once(child, 'close').then(
    ([status, signal]): Outcome => ({ status, signal, output, errors }),
  );
  return { child, ended, printed: () => output };
}
