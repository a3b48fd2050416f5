import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import pc from 'picocolors';
import {
  acceleratorNames,
  boot,
  type Guest,
  type KernelChoice,
  type NetworkChoice,
  type VsockChoice,
} from '../guest/index.js';
import { makeRunFolder } from '../guest/vm/rundir.js';
import { failure } from '../src/errors.js';
import { readGivenFile } from '../src/given-file.js';
import { parsePolicy, profiles } from '../src/policy/index.js';
import type { Standby } from '../src/run/index.js';
import { wholeNumber } from '../src/whole-number.js';
import { makeKeys } from './keys.js';
import { addMachineOptions, type MachineOptions, machineChoice } from './machine-options.js';
import { progressLine } from './progress.js';
import { openStandby } from './standby.js';

interface Options extends MachineOptions {
  memory: number;
  cpus: number;
  kernel?: string;
  modules?: string;
  suite?: string;
  net: NetworkChoice;
  vsock: VsockChoice;
  profile?: string;
  policy?: string;
  keepLog?: string;
}

/**
 * With less memory, the root file system does not fit beside its archive while the kernel unpacks
 * it.
 */
const LEAST_MEMORY_MIB = 384;
/** Longer than anybody keeps a guest that ends with its terminal. */
const KEYS_LAST_DAYS = 365;

/** `waep vm`: boots a guest with an agent and keeps it until Ctrl-C. */
export function vmCommand(): Command {
  const command = new Command('vm')
    .summary('boot a guest and keep it running')
    .description(
      'Boot a guest with a stock kernel and an agent, print its addresses, and keep it running until Ctrl-C. The guest executes "sleep 1" again and again, so that there is something to watch.',
    );
  return addMachineOptions(command)
    .option('--memory <mib>', 'memory in MiB', wholeNumber(LEAST_MEMORY_MIB), 1536)
    .option('--cpus <n>', 'processors', wholeNumber(1), 1)
    .option('--suite <name>', "take the kernel from this Debian suite instead of this machine's")
    .option('--kernel <file>', 'boot this kernel; needs --modules')
    .option('--modules <folder>', 'the /lib/modules/<release> of --kernel')
    .addOption(
      new Option(
        '--net <kind>',
        'the network: user makes the guest reachable from 127.0.0.1, for clients with keys that are made and printed for it',
      )
        .choices(['user', 'none'])
        .default('none'),
    )
    .addOption(
      new Option(
        '--vsock <kind>',
        'what serves the vsock device; auto is the kernel if it can, else this process (device)',
      )
        .choices(['auto', 'kernel', 'device', 'mux', 'none'])
        .default('auto'),
    )
    .addOption(
      new Option('--profile <name>', 'the profile of the agent: what hosts may do in the guest')
        .choices(Object.keys(profiles))
        .conflicts('policy'),
    )
    .option('--policy <file>', 'the policy file of the agent, in place of a profile')
    .option('--keep-log <file>', 'copy the serial log there when the guest ends')
    .action(run);
}

async function run(options: Options): Promise<void> {
  const policy = options.policy === undefined ? undefined : resolve(options.policy);
  // A fault in the policy must be reported here. Otherwise, only a guest that does not start would
  // show it.
  if (policy !== undefined)
    parsePolicy(readGivenFile('--policy', policy, 'a policy file').toString(), policy);
  const progress = progressLine();
  const keys = options.net === 'user' ? await keysOfGuest() : undefined;
  const guest = await boot({
    ...machineChoice(options),
    kernel: kernelChoice(options),
    memoryMib: options.memory,
    cpus: options.cpus,
    network: options.net,
    vsock: options.vsock,
    pulse: true,
    agent: {
      profile: options.profile,
      policy,
      ...(keys === undefined ? {} : { tcp: { keys } }),
    },
    keepLog: options.keepLog === undefined ? undefined : resolve(options.keepLog),
    progress: progress.show,
    notice: (line) => {
      progress.clear();
      console.error(pc.yellow(line));
    },
  }).finally(progress.clear);
  const interrupted = new Promise<undefined>((settle) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => settle(undefined));
    }
  });
  // The process with the vsock device answers programs on its guest, which is the shortest way.
  const standby = options.vsock === 'none' ? undefined : await standBy(guest.vsock());
  // Who reads an address may use it at once, with all that belongs to it.
  print(guest, options, keys);
  const how = await Promise.race([guest.ended, interrupted]);
  standby?.close();
  await guest.stop();
  if (how === undefined) return;
  console.error(`The guest ended by itself (${how}).`);
  process.exitCode = 1;
}

/** Makes the keys and certificates of a client and the agent, for as long as the guest runs. */
async function keysOfGuest(): Promise<string> {
  const { path } = makeRunFolder();
  await makeKeys(path, KEYS_LAST_DAYS, { agent: 'agent', client: 'client' });
  // Without the authority's key, nobody can sign another certificate.
  rmSync(join(path, 'ca.key'));
  return path;
}

async function standBy(vm: string): Promise<Standby | undefined> {
  try {
    return await openStandby({ vm });
  } catch (error) {
    console.error(
      pc.yellow(`"waep run" has to do without this process: ${(error as Error).message}`),
    );
    return undefined;
  }
}

function kernelChoice({ kernel, modules, suite }: Options): KernelChoice {
  if (kernel === undefined && modules === undefined) return { suite };
  if (kernel !== undefined && modules !== undefined && suite === undefined) {
    return { image: resolve(kernel), modules: resolve(modules) };
  }
  throw failure('ERR_OPTION_INVALID', {
    option: '--kernel, --modules and --suite',
    value: kernel ?? modules,
    expected: '--kernel together with --modules, or --suite alone',
  });
}

/** Addresses go to standard output for scripts. Everything else is for people. */
function print(guest: Guest, { vsock, net }: Options, keys: string | undefined): void {
  const { info } = guest;
  const cpus = info.cpus === 1 ? '1 CPU' : `${info.cpus} CPUs`;
  const seconds = (info.bootMs / 1000).toFixed(1);
  console.error(
    `Linux ${info.kernel} on ${acceleratorNames[info.accel]} (${info.machine}), ${cpus}, ${info.memoryMib} MiB, up after ${seconds} s`,
  );
  const addresses = [
    ...(vsock === 'none' ? [] : [guest.vsock()]),
    ...(net === 'none' ? [] : [guest.tcp()]),
  ];
  for (const address of addresses) console.log(address);
  console.error(pc.dim(`The console is written to ${guest.log}. Try in another terminal:`));
  if (vsock !== 'none') console.error(`  npx waep hello --vm ${guest.vsock()}`);
  if (keys !== undefined) console.error(`  npx waep hello --vm ${guest.tcp()} --keys ${keys}`);
  console.error(pc.dim('Ctrl-C ends it.'));
}
