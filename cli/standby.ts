import { Command } from 'commander';
import pc from 'picocolors';
import { optionalCache } from '../src/paths.js';
import { Standby } from '../src/run/index.js';
import {
  type ConnectionOptions,
  connectionOptions,
  leaseOption,
  openSession,
  unhurried,
} from './connection.js';
import { untilInterrupted } from './signals.js';

/** The time limit for the remaining work at the end. */
const END_MS = 1000;

/** `waep standby`: keeps ready what makes `waep run` start at once. */
export function standbyCommand(): Command {
  const command = new Command('standby')
    .summary('keep a session ready for "waep run"')
    .description(
      'Keep a session with a guest ready until Ctrl-C. Meanwhile "waep run --vm" with the same address starts at once: it waits neither for Node nor for the guest, because this process answers the program\'s system calls. Each program gets its own session. When the program ends, everything the session holds is closed before the session is used again. Only this user and root can use it.',
    );
  return leaseOption(connectionOptions(command)).action(standBy);
}

async function standBy(options: ConnectionOptions): Promise<void> {
  const standby = await openStandby(options);
  console.log(`Ready for: waep run --vm ${options.vm} -- PROGRAM`);
  console.error(pc.dim('Ctrl-C ends it. Programs that are still running then fail.'));
  await untilInterrupted(
    (signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
  );
  standby.close();
  // A guest without an answer, or a program that goes on, must not keep this process.
  setTimeout(() => process.exit(), END_MS).unref();
}

/** Opens a standby of this process for programs that `waep run` starts on a guest. */
export function openStandby(options: ConnectionOptions): Promise<Standby> {
  return Standby.open(options.vm, {
    connect: () => openSession(options, { client: `waep standby ${process.pid}`, ...unhurried }),
    cacheFolder: optionalCache('guests'),
    refused: (error, output) => {
      output.write(pc.createColors(output.isTerminal).yellow(`waep: ${error.message}\n`));
    },
    failed: (error, program) => {
      console.error(pc.yellow(`waep: ${program} was not taken on: ${error.message}`));
    },
  });
}
