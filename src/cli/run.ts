import { join } from 'node:path';
import { Command } from 'commander';
import pc from 'picocolors';
import { cacheFolder } from '../../guest/paths.js';
import { run } from '../run/index.js';
import { type ConnectionOptions, connectionOptions, openSession } from './connection.js';

/** `waep run`: an eBPF application of this machine, on the guest's kernel. */
export function runCommand(): Command {
  return connectionOptions(new Command('run'))
    .summary("run an eBPF application on a guest's kernel")
    .description(
      "Runs an eBPF application of this machine, unchanged, on a guest's kernel: its bpf(2) calls, and those of the programs it starts, are executed in the guest. Ends with the program's own exit status.",
    )
    .argument('<program...>', 'the program and its arguments; put -- before them')
    .passThroughOptions()
    .action(async (program: string[], options: ConnectionOptions) => {
      // Ctrl-C is for the program, which ends when and as it likes.
      const ignore = () => {};
      process.on('SIGINT', ignore).on('SIGQUIT', ignore);
      const session = await openSession(options, { client: `waep run ${program[0]}` });
      try {
        const refused = (error: Error) => console.error(pc.yellow(`waep: ${error.message}`));
        const options = { refused, cacheFolder: join(cacheFolder(), 'guests') };
        process.exitCode = (await run(session, program, options)).status;
      } finally {
        session.close();
        process.off('SIGINT', ignore).off('SIGQUIT', ignore);
      }
    });
}
