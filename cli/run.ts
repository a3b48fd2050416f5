import type { Readable } from 'node:stream';
import { Command } from 'commander';
import pc from 'picocolors';
import { failure } from '../src/errors.js';
import { readGivenFile } from '../src/given-file.js';
import { optionalCache } from '../src/paths.js';
import type { RunOptions } from '../src/run/index.js';
import {
  type ConnectionOptions,
  connectTimeoutOption,
  leaseOption,
  openSession,
  tlsOptions,
  unhurried,
} from './connection.js';
import { errorLine, quote } from './json-lines.js';
import { printed } from './lines.js';
import { passSignalsOn } from './signals.js';

interface Options extends Omit<ConnectionOptions, 'vm'> {
  vm?: string[];
  vms?: string;
  json?: true;
}

/** `waep run`: runs an eBPF application of this machine on the guest's kernel. */
export function runCommand(): Command {
  const command = new Command('run')
    .summary("run an eBPF application on a guest's kernel")
    .description(
      "Run an eBPF application of this machine, unchanged, on a guest's kernel. The guest makes the application's bpf(2) calls, and those of the programs that it starts. The exit status is the application's. With several guests, the application runs once for each, and each line of output begins with the guest's address; the applications get no standard input, and a line at the end says how each ended. The exit status is 124 if the guest went away, 125 if waep failed, 126 or 127 if the application cannot be executed or found.",
    )
    .option(
      '--vm <address>',
      'the address of the agent, such as vsock:3:1024 or tcp:127.0.0.1:1024; may be given several times',
      (address: string, others: string[] = []) => [...others, address],
    )
    .option('--vms <file>', 'a file with one address on each line; # begins a comment')
    .option(
      '--json',
      'print JSON on standard error, an object on each line: waep is "error" or "notice" (with code and message), "ended" (status and outcome), or "stderr" (text: a line of the program, which cannot look like one of waep)',
    );
  return leaseOption(connectTimeoutOption(tlsOptions(command)))
    .argument('<program...>', 'the program and its arguments; put -- before them')
    .passThroughOptions()
    .action(async (program: string[], { vm = [], vms, json, ...tls }: Options) => {
      const addresses = [...vm, ...(vms === undefined ? [] : addressesIn(vms))];
      const [address, ...others] = addresses;
      if (address === undefined) {
        throw failure('ERR_OPTION_INVALID', {
          option: '--vm',
          value: vms ?? '',
          expected: 'at least one address of an agent, such as vsock:3:1024',
        });
      }
      const started = passSignalsOn();
      const status =
        others.length === 0
          ? await runIn({ vm: address, ...tls }, program, { started, json: json === true })
          : await (await import('./fan-out.js')).fanOut(addresses, program, tls, {
              started,
              json: json === true,
            });
      await printed();
      // Everything is closed. A full shutdown of Node would only keep the user waiting.
      process.exit(status);
    });
}

async function runIn(
  options: ConnectionOptions,
  program: readonly string[],
  { started, json }: { started: NonNullable<RunOptions['started']>; json: boolean },
): Promise<number> {
  const how = { client: `waep run ${program[0]}`, ...unhurried };
  const load = () => import('../src/run/index.js');
  const session = await openSession(options, how, load);
  const { RELEASE_MS, run } = await load();
  try {
    const refused = (error: Error) =>
      console.error(
        json ? errorLine('notice', error, options.vm) : pc.yellow(`waep: ${error.message}`),
      );
    const kept = { refused, cacheFolder: optionalCache('guests') };
    const apart = {
      address: options.vm,
      read: (errors: Readable) => quote(errors, options.vm),
    };
    return (await run(session, program, { ...kept, started, ...(json ? { apart } : {}) })).status;
  } finally {
    // When this command ends, everything that the program left in the guest must be gone, even with
    // a lease.
    if (!session.closed && !session.interrupted)
      await session.releaseAll({ timeoutMs: RELEASE_MS }).catch(() => {});
    session.close();
  }
}

function addressesIn(file: string): string[] {
  const lines = readGivenFile('--vms', file, 'a file with addresses').toString().split('\n');
  return lines.map((line) => line.replace(/#.*/, '').trim()).filter((line) => line !== '');
}
