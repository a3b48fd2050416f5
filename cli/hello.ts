import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import pc from 'picocolors';
import { enums } from '../src/bpf/index.js';
import type { WaepError } from '../src/errors.js';
import { printable } from '../src/printable.js';
import { wholeNumber } from '../src/whole-number.js';
import {
  type ConnectionOptions,
  connectionOptions,
  leaseOption,
  openSession,
} from './connection.js';
import { instructions, message, tracepoint } from './hello-program.js';
import { closeAfter, untilInterrupted } from './signals.js';
import { columnsOf, widthOf, wrapped } from './text.js';
import { openTraceLog } from './trace-log.js';

const POLL_MS = 50;
const READ_BYTES = 64 * 1024;

interface Options extends ConnectionOptions {
  count?: number;
}

/** `waep hello`: shows in the shortest way that everything works. */
export function helloCommand(): Command {
  return leaseOption(connectionOptions(new Command('hello')))
    .summary("follow the thesis' example in a guest's kernel")
    .description(
      "Load the thesis' example into a guest's kernel and follow its log. The example prints a line for every program that the guest executes. Ctrl-C detaches it.",
    )
    .option('--count <n>', 'stop after this number of lines', wholeNumber(1))
    .action((options: Options) => untilInterrupted((signal) => follow(options, signal)));
}

async function follow(options: Options, signal: AbortSignal): Promise<void> {
  const { vm, count } = options;
  const session = await openSession(options, { client: 'waep hello', signal });
  closeAfter(signal, session);
  try {
    const { release } = session.kernel;
    const program = await session.loadProgram({
      type: enums.ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
      instructions,
      license: 'GPL',
      name: 'waep_hello',
    });
    const log = await openTraceLog(session);
    await program.attachRawTracepoint(tracepoint);
    const said = `attached to raw_tracepoint/${tracepoint} in ${vm}, Linux ${release}; Ctrl-C ends it`;
    for (const line of wrapped(said, widthOf(process.stderr, Number.POSITIVE_INFINITY)))
      console.error(pc.dim(line));
    let seen = 0;
    let rest = '';
    while (!signal.aborted) {
      const bytes = await session.read(log, READ_BYTES).catch((error: Partial<WaepError>) => {
        // The session may be resumed. Otherwise the next read throws the reason.
        if (error.code !== 'ERR_SESSION_INTERRUPTED') throw error;
        return undefined;
      });
      if (bytes === undefined) {
        await sleep(POLL_MS, undefined, { signal }).catch(() => {});
        continue;
      }
      const lines = (rest + Buffer.from(bytes).toString('utf8')).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (!line.includes(message)) continue;
        console.log(fitted(printable(line), widthOf(process.stdout, Number.POSITIVE_INFINITY)));
        if (++seen === count) return;
      }
    }
  } finally {
    session.close();
  }
}

/**
 * Returns a line of the log that fits into `width` columns, if it does so without some of the
 * spaces that the kernel writes before the name of a process. There is always one.
 */
export function fitted(line: string, width: number): string {
  const excess = Math.max(0, columnsOf(line) - width);
  return line.slice(Math.min(excess, line.length - line.trimStart().length));
}
