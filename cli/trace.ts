import { once } from 'node:events';
import { StringDecoder } from 'node:string_decoder';
import { Command } from 'commander';
import pc from 'picocolors';
import { printable } from '../src/printable.js';
import {
  type ConnectionOptions,
  connectionOptions,
  leaseOption,
  openSession,
} from './connection.js';
import { closeAfter, untilInterrupted } from './signals.js';
import { openTraceLog } from './trace-log.js';

/** `waep trace`: prints the trace log of the guest's kernel and its programs. */
export function traceCommand(): Command {
  return leaseOption(connectionOptions(new Command('trace')))
    .summary("follow the trace log of a guest's kernel")
    .description(
      "Follow the trace log of a guest's kernel. bpf_printk() and enabled events write to this log. A line that is read here is gone from the log. Ctrl-C ends it.",
    )
    .action((options: ConnectionOptions) => untilInterrupted((signal) => follow(options, signal)));
}

async function follow(options: ConnectionOptions, signal: AbortSignal): Promise<void> {
  await using session = await openSession(options, { client: 'waep trace', signal });
  closeAfter(signal, session);
  const file = await openTraceLog(session);
  const decoder = new StringDecoder('utf8');
  const stream = await session.subscribe(
    { source: 'file', file },
    { signal },
    async ({ bytes }) => {
      if (!process.stdout.write(printable(decoder.write(bytes))))
        await once(process.stdout, 'drain');
    },
  );
  console.error(pc.dim(`following the log of Linux ${session.kernel.release}; Ctrl-C ends it`));
  await stream.ended;
}
