import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { agentPath } from '../../src/paths.js';
import { until } from '../until.js';

/** A folder for a test. Its path is short, as sockets need. */
export function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'waep-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** An agent as its owner starts it, in a process of its own. */
export interface AgentProcess {
  readonly address: string;
  readonly child: ChildProcess;
  /** What it has written to standard output and to standard error. */
  stdout(): string;
  stderr(): string;
  /** Resolves with its exit status. */
  readonly exit: Promise<number | null>;
}

/**
 * Starts an agent that listens in a folder of the test, and waits until it does. `before` is a
 * command that becomes the agent.
 */
export async function agentProcess(
  t: Test,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
  before: readonly string[] = [],
): Promise<AgentProcess> {
  const address = `unix:${join(folderOf(t), 'agent.sock')}`;
  const agent = [process.execPath, agentPath, '--listen', address, ...words];
  const [file = '', ...rest] = [...before, ...agent];
  const child = spawn(file, rest, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
    });
  }
  let over = false;
  const exit = once(child, 'close').then(([status]) => {
    over = true;
    return status as number | null;
  });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exit;
  });
  await until(
    () => `the agent to listen; it says ${said.stderr}`,
    () => over || said.stdout.includes(`listening on ${address}`),
  );
  return { address, child, stdout: () => said.stdout, stderr: () => said.stderr, exit };
}
