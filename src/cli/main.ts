#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import pc from 'picocolors';
import { packageFolder } from '../../guest/paths.js';

const { version }: { version: string } = JSON.parse(
  readFileSync(join(packageFolder, 'package.json'), 'utf8'),
);

async function main(): Promise<void> {
  // Loaded here, so that an addon that is missing is an error like any other, with its cure.
  const [{ doctorCommand }, { vmCommand }, { helloCommand }, { runCommand }] = await Promise.all([
    import('./doctor.js'),
    import('./vm.js'),
    import('./hello.js'),
    import('./run.js'),
  ]);
  await new Command('waep')
    .description("eBPF applications on the host, their programs in the guest's kernel.")
    .version(version)
    .enablePositionalOptions()
    .addCommand(doctorCommand())
    .addCommand(vmCommand())
    .addCommand(helloCommand())
    .addCommand(runCommand())
    .parseAsync();
}

main().catch((error: Error) => {
  console.error(pc.red(`waep: ${error.message}`));
  process.exitCode = 1;
});
