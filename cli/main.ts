import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import pc from 'picocolors';
import { packageFolder } from '../src/paths.js';

const { version }: { version: string } = JSON.parse(
  readFileSync(join(packageFolder, 'package.json'), 'utf8'),
);

/**
 * The subcommands. Each is loaded when it is needed, so that none waits for another's code, and an
 * addon that is missing is an error like any other, with its cure.
 */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  doctor: async () => (await import('./doctor.js')).doctorCommand(),
  vm: async () => (await import('./vm.js')).vmCommand(),
  hello: async () => (await import('./hello.js')).helloCommand(),
  ping: async () => (await import('./ping.js')).pingCommand(),
  run: async () => (await import('./run.js')).runCommand(),
  standby: async () => (await import('./standby.js')).standbyCommand(),
  trace: async () => (await import('./trace.js')).traceCommand(),
  stream: async () => (await import('./stream.js')).streamCommand(),
  'vsock-device': async () => (await import('./vsock-device.js')).vsockDeviceCommand(),
  keys: async () => (await import('./keys.js')).keysCommand(),
  policy: async () => (await import('./policy.js')).policyCommand(),
  preflight: async () => (await import('./preflight.js')).preflightCommand(),
};

async function main(): Promise<void> {
  const program = new Command('waep')
    .description("Run eBPF applications on the host, and their programs in a guest's kernel.")
    .version(version)
    .enablePositionalOptions();
  const named = commands[process.argv[2] ?? ''];
  const needed = named === undefined ? Object.values(commands) : [named];
  for (const command of await Promise.all(needed.map((load) => load()))) {
    program.addCommand(command);
  }
  await program.parseAsync();
}

main().catch((error: Error) => {
  console.error(pc.red(`waep: ${error.message}`));
  process.exitCode = 1;
});
