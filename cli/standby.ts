import { join } from 'node:path';
import { Command } from 'commander';
import pc from 'picocolors';
import { cacheFolder } from '../src/paths.js';
import { Standby } from '../src/run/index.js';
import { type ConnectionOptions, connectionOptions, openSession, unhurried } from './connection.js';
import { untilInterrupted } from './signals.js';

/** `waep standby`: what makes `waep run` start at once. */
export function standbyCommand(): Command {
  const command = new Command('standby')
    .summary('have a session ready for "waep run"')
    .description(
      'Has a session with a guest ready until Ctrl-C. While it does, "waep run --vm" with the same address starts without waiting for Node or for the guest: this process answers the program\'s system calls. Each program has a session for itself, and what it leaves behind is closed before the next one gets it. It serves its own user and root.',
    );
  return connectionOptions(command).action(standBy);
}

async function standBy(options: ConnectionOptions): Promise<void> {
  const standby = await openStandby(options);
  console.log(`Ready for: waep run --vm ${options.vm} -- PROGRAM`);
  console.error(pc.dim('Ctrl-C ends it. Programs that it answers for fail from then on.'));
  await untilInterrupted(
    (signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
  );
  standby.close();
}

/** Has this process stand by for programs that `waep run` starts on a guest. */
export function openStandby(options: ConnectionOptions): Promise<Standby> {
  return Standby.open(options.vm, {
    connect: () => openSession(options, { client: `waep standby ${process.pid}`, ...unhurried }),
    cacheFolder: join(cacheFolder(), 'guests'),
    refused: (error, output) => {
      output.write(pc.createColors(output.isTerminal).yellow(`waep: ${error.message}\n`));
    },
    failed: (error, program) => {
      console.error(pc.yellow(`waep: ${program} was not taken on: ${error.message}`));
    },
  });
}
