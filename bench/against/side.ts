import { fileURLToPath } from 'node:url';
import { requireTool } from '../../guest/tools.js';
import { leashed } from '../process.js';
import type { Arm } from '../types.js';
import { Worker } from '../worker.js';
import type { Opened, SideAnswer, SideChoice, SideRequest } from './protocol.js';

/** An open experiment of one tree, with a running guest. Disposing of it ends the guest. */
export interface OpenSide extends Opened, AsyncDisposable {
  /** Measures an arm with the code of the tree. */
  measure(arm: string): Arm['measure'];
}

/** Gets and builds what the guest of a tree needs, while there is a network. */
export async function fetchFor(folder: string, choice: SideChoice): Promise<void> {
  await using side = start(folder, false);
  await side.ask({ task: 'fetch', ...choice });
}

/** Opens an experiment with the bench of a tree, in a network namespace of its own. */
export async function openSide(folder: string, choice: SideChoice): Promise<OpenSide> {
  const side = start(folder, process.getuid?.() === 0);
  try {
    const { opened } = await side.ask({ task: 'open', ...choice });
    if (opened === undefined) throw new TypeError('a side has answered another question');
    return {
      ...opened,
      measure: (arm) => async (amount) =>
        (await side.ask({ task: 'measure', arm, amount })).measured ?? [],
      [Symbol.asyncDispose]: async () => {
        try {
          await side.ask({ task: 'close' });
        } finally {
          await side[Symbol.asyncDispose]();
        }
      },
    };
  } catch (error) {
    await side[Symbol.asyncDispose]();
    throw error;
  }
}

function start(folder: string, isolated: boolean): Worker<SideRequest, SideAnswer> {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const program = [process.execPath, main, folder];
  const command = isolated ? [requireTool('unshare'), '--net', ...program] : program;
  const env = { ...process.env, ...(isolated ? { WAEP_PRIVATE_NETWORK: '1' } : {}) };
  return new Worker(`The bench in ${folder}`, leashed(undefined, command), env);
}
