import { execa } from 'execa';
import { failure } from '../src/errors.js';

/**
 * Returns the beginning of a command line. The program after it is killed when this process ends,
 * and runs on these CPUs only, or on all.
 */
export function leashed(cpu: number | undefined, command: readonly string[]): string[] {
  const pinned = cpu === undefined ? [] : ['taskset', '--cpu-list', String(cpu)];
  return ['setpriv', '--pdeathsig', 'KILL', ...pinned, ...command];
}

/** A program that runs until this object is disposed of. */
export interface Server extends AsyncDisposable {
  readonly pid: number;
}

/**
 * Starts a program and resolves when a line of its output begins with `ready`.
 *
 * @throws ERR_TOOL_FAILED when it ends before that, or is not ready within 20 s
 */
export async function startServer(
  command: readonly string[],
  options: { ready: string; cpu?: number },
): Promise<Server> {
  const child = launch(leashed(options.cpu, command));
  const server: Server = {
    pid: child.pid ?? 0,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await child;
    },
  };
  try {
    await becomesReady(child, options.ready, command.join(' '));
  } catch (error) {
    await server[Symbol.asyncDispose]();
    throw error;
  }
  return server;
}

function launch([program = '', ...args]: readonly string[]) {
  return execa(program, args, {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    reject: false,
    // What a server prints is of interest until it is ready, and when it fails before that.
    buffer: false,
  });
}

const readyWithinMs = 20_000;

async function becomesReady(
  child: ReturnType<typeof launch>,
  ready: string,
  tool: string,
): Promise<void> {
  let output = '';
  const failed = (why: string) =>
    failure('ERR_TOOL_FAILED', { tool, why, log: `its output: ${output.trim() || 'none'}` });
  await new Promise<void>((resolve, reject) => {
    const deadline = setTimeout(
      () => reject(failed(`it was not ready within ${readyWithinMs} ms`)),
      readyWithinMs,
    );
    const listen = (chunk: Buffer) => {
      output += chunk.toString();
      if (output.split('\n').some((line) => line.startsWith(ready))) {
        clearTimeout(deadline);
        resolve();
      }
    };
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    child.once('exit', (code, signal) => {
      clearTimeout(deadline);
      reject(failed(`it ended with ${code ?? signal}`));
    });
  });
}

/** Runs a program to its end and returns its standard output. */
export async function run(command: readonly string[], cpu?: number): Promise<string> {
  const [program = '', ...args] = leashed(cpu, command);
  return (await execa(program, args, { stdin: 'ignore' })).stdout;
}
