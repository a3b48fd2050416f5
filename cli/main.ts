import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import pc from 'picocolors';
import { packageFolder } from '../src/paths.js';
import { errorLine } from './json-lines.js';
import { interrupt } from './signals.js';
import { RUN_FAILED } from './statuses.js';

const { version }: { version: string } = JSON.parse(
  readFileSync(join(packageFolder, 'package.json'), 'utf8'),
);

const EXAMPLES = `
Examples:
  waep vm                                  boot a guest; prints its address
  waep run --vm ADDRESS -- bpftool prog    run a tool of this machine on it
  waep policy explain policy.yaml          say in words what a policy allows
`;

/**
 * The subcommands, in the groups and the order of the help. Each is loaded when it is needed. No
 * command then waits for the code of another one, and a missing addon is an error like any other,
 * with its cure.
 */
const groups: Readonly<Record<string, Readonly<Record<string, () => Promise<Command>>>>> = {
  'Run programs on a guest:': {
    run: async () => (await import('./run.js')).runCommand(),
    standby: async () => (await import('./standby.js')).standbyCommand(),
  },
  'Look into a guest:': {
    hello: async () => (await import('./hello.js')).helloCommand(),
    ping: async () => (await import('./ping.js')).pingCommand(),
    trace: async () => (await import('./trace.js')).traceCommand(),
    stream: async () => (await import('./stream.js')).streamCommand(),
    preflight: async () => (await import('./preflight.js')).preflightCommand(),
  },
  'Guests and this machine:': {
    vm: async () => (await import('./vm.js')).vmCommand(),
    doctor: async () => (await import('./doctor.js')).doctorCommand(),
    'vsock-device': async () => (await import('./vsock-device.js')).vsockDeviceCommand(),
  },
  'Who may do what:': {
    policy: async () => (await import('./policy.js')).policyCommand(),
    keys: async () => (await import('./keys.js')).keysCommand(),
  },
};

async function main(): Promise<void> {
  const program = new Command('waep')
    .description("Run eBPF applications on the host, and their programs in a guest's kernel.")
    .version(version)
    .enablePositionalOptions()
    .addHelpText('after', EXAMPLES);
  const all = Object.entries(groups).flatMap(([group, commands]) =>
    Object.entries(commands).map(([name, load]) => ({ group, name, load })),
  );
  const named = all.find(({ name }) => name === process.argv[2]);
  const needed = named === undefined ? all : [named];
  const loaded = await Promise.all(
    needed.map(async ({ group, load }) => (await load()).helpGroup(group)),
  );
  for (const command of loaded) {
    command.exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : failureStatus));
    command.configureOutput({ outputError: sayWrong });
    program.addCommand(command);
  }
  program.hook('preAction', (_, action) => {
    const { json, vm } = action.opts<{ json?: true; vm?: string | string[] }>();
    const addresses = [vm ?? []].flat();
    said = { json: json === true, address: addresses.length === 1 ? addresses[0] : undefined };
  });
  await program.parseAsync();
}

const words = process.argv.slice(2);
/** How errors are printed. While the options are not read, a word decides. */
let said: { json: boolean; address?: string | undefined } = {
  json: words.slice(0, words.includes('--') ? words.indexOf('--') : undefined).includes('--json'),
};

/** Prints what is wrong with the words of the command line. */
function sayWrong(text: string, write: (text: string) => void): void {
  write(said.json ? `${errorLine('error', new Error(text.trim()))}\n` : text);
}

/** With `waep run`, every other status belongs to the program. */
const failureStatus = process.argv[2] === 'run' ? RUN_FAILED : 1;

/**
 * The reader of the output may stop reading. The command then ends without a message, as after
 * SIGPIPE.
 */
const BROKEN_PIPE_STATUS = 128 + constants.signals.SIGPIPE;

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') {
      process.exitCode = BROKEN_PIPE_STATUS;
      // An exit at once would leave what the command has made in the guest until its lease ends.
      if (!interrupt()) process.exit();
      return;
    }
    if (stream === process.stdout) console.error(pc.red(`waep: standard output: ${error.message}`));
    process.exit(failureStatus);
  });
}

main().catch((error: Error & { code?: string }) => {
  const { json, address } = said;
  // What is wrong with an option has nothing to do with the guest.
  const isOfGuest = address !== undefined && error.code !== 'ERR_OPTION_INVALID';
  const isNamed = !isOfGuest || error.message.includes(address);
  const text = isNamed ? error.message : `${address}: ${error.message}`;
  console.error(json ? errorLine('error', error, address) : pc.red(`waep: ${text}`));
  process.exitCode = failureStatus;
});
