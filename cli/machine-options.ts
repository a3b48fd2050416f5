import { type Command, Option } from 'commander';
import type { AcceleratorChoice, BootOptions, Machine } from '../guest/index.js';
import { wholeNumber } from '../src/whole-number.js';

/** The options of `waep vm` and of the bench for the machine of a guest. */
export interface MachineOptions {
  accel: AcceleratorChoice;
  machine?: Machine;
  cpu?: string;
  append?: string;
  /** In seconds. */
  bootTimeout?: number;
  confine: boolean;
}

/** Adds the options for the machine of a guest to a command. */
export function addMachineOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--accel <how>', 'how to run the guest; auto is KVM if KVM works, else tcg')
        .choices(['auto', 'kvm', 'tcg'])
        .default('auto'),
    )
    .addOption(
      new Option(
        '--machine <type>',
        "QEMU's machine (default: q35; an emulated microvm does not always boot on a busy machine)",
      ).choices(['microvm', 'pc', 'q35']),
    )
    .option('--cpu <model>', "QEMU's -cpu (default: one that suits the accelerator)")
    .option('--append <arguments>', "add this to the kernel's command line")
    .option(
      '--boot-timeout <seconds>',
      'how long the guest may take until all of it answers; time that other programs took from it does not count (default: 60)',
      wholeNumber(1),
    )
    .option(
      '--no-confine',
      'run QEMU as this user, with every system call (default: with few, and from root as a user that has nothing)',
    );
}

/** Returns these options in the form of {@link boot}. */
export function machineChoice(
  options: MachineOptions,
): Pick<BootOptions, 'accel' | 'machine' | 'cpu' | 'kernelArgs' | 'deadlineMs' | 'confine'> {
  const { accel, machine, cpu, append, bootTimeout, confine } = options;
  return {
    accel,
    machine,
    cpu,
    confine,
    ...(append === undefined ? {} : { kernelArgs: [append] }),
    ...(bootTimeout === undefined ? {} : { deadlineMs: bootTimeout * 1000 }),
  };
}
