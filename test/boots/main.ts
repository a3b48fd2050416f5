/* `npm run boots`: boots guest after guest, by machine, processors, QEMU and what runs beside. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { delimiter } from 'node:path';
import { Command, Option } from 'commander';
import pc from 'picocolors';
import { boot, buildImage } from '../../guest/index.js';
import type { WaepError } from '../../src/index.js';
import { packageFolder } from '../../src/paths.js';
import { wholeNumber } from '../../src/whole-number.js';
import { newerQemu } from '../device/newer-qemu.js';
import { type Row, record, results } from './page.js';

/** The values of each dimension. Each cell of the matrix is a choice of one of each. */
const dimensions = {
  qemu: ['installed', 'newer'],
  machine: ['microvm', 'q35'],
  cpus: [1, 4],
  beside: ['idle', 'busy'],
} as const;

interface Cell {
  qemu: (typeof dimensions.qemu)[number];
  machine: (typeof dimensions.machine)[number];
  cpus: number;
  beside: (typeof dimensions.beside)[number];
}

/** All cells; neighbours differ in what runs beside, so that a part of the matrix has all of it. */
function cells(): Cell[] {
  return dimensions.qemu.flatMap((qemu) =>
    dimensions.machine.flatMap((machine) =>
      dimensions.cpus.flatMap((cpus) =>
        dimensions.beside.map((beside): Cell => ({ qemu, machine, cpus, beside })),
      ),
    ),
  );
}

interface Flags {
  boots: number;
  only?: string;
  suite?: string;
  bootTimeout: number;
  minutes?: number;
  /** The folder. */
  record?: string;
}

/** A busy loop for each processor of this machine. */
function makeBusy(): ChildProcess[] {
  return Array.from({ length: availableParallelism() }, () =>
    spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, '-e', 'for (;;);'], {
      stdio: 'ignore',
    }),
  );
}

async function bootOnce(cell: Cell, flags: Flags, newer: string): Promise<Row> {
  const { PATH = '' } = process.env;
  const loops = cell.beside === 'busy' ? makeBusy() : [];
  if (cell.qemu === 'newer') process.env.PATH = `${newer}${delimiter}${PATH}`;
  const startedMs = performance.now();
  const common = { machine: cell.machine, cpus: cell.cpus, beside: cell.beside, commit: commit() };
  const now = () => ({ loadAverage: loadavg()[0] ?? 0, at: new Date().toISOString() });
  try {
    await using guest = await boot({
      accel: 'tcg',
      exec: true,
      network: 'user',
      agent: { tcp: 'anybody' },
      machine: cell.machine,
      cpus: cell.cpus,
      kernel: { suite: flags.suite },
      deadlineMs: flags.bootTimeout * 1000,
    });
    const { qemu, kernel, bootMs } = guest.info;
    return { ...common, qemu, kernel, bootMs, ...now() };
  } catch (error) {
    const { detail, message } = error as WaepError<'ERR_GUEST_BOOT'>;
    const { kernel } = await buildImage({ kernel: { suite: flags.suite } });
    const bootMs = Math.round(performance.now() - startedMs);
    const lost = detail?.why ?? message;
    if (detail !== undefined) console.log(`the log is in ${detail.log}`);
    return { ...common, qemu: cell.qemu, kernel: kernel.release, bootMs, lost, ...now() };
  } finally {
    process.env.PATH = PATH;
    for (const loop of loops) loop.kill('SIGKILL');
  }
}

function commit(): string {
  const args = ['-C', packageFolder, 'rev-parse', '--short', 'HEAD'];
  return execFileSync('git', args, { encoding: 'utf8' }).trim();
}

async function main(flags: Flags): Promise<void> {
  const pattern = new RegExp(flags.only ?? '');
  const nameOf = ({ qemu, machine, cpus, beside }: Cell) => `${qemu} ${machine} ${cpus} ${beside}`;
  const chosen = cells().filter((cell) => pattern.test(nameOf(cell)));
  const folder = mkdtempSync(`${tmpdir()}/waep-boots-`);
  const untilMs = performance.now() + (flags.minutes ?? Number.POSITIVE_INFINITY) * 60_000;
  let lost = 0;
  let done = 0;
  try {
    if (chosen.some(({ qemu }) => qemu === 'newer')) await newerQemu(folder);
    // The cells take turns, so that each meets what happens to this machine meanwhile.
    for (; done < flags.boots && performance.now() < untilMs && chosen.length > 0; done++) {
      const cell = chosen[done % chosen.length] as Cell;
      const row = await bootOnce(cell, flags, folder);
      if (flags.record !== undefined) record([row], flags.record);
      if (row.lost !== undefined) lost++;
      const seen = `${(row.bootMs / 1000).toFixed(1)} s, load ${row.loadAverage.toFixed(1)}`;
      const outcome = row.lost === undefined ? pc.green('up') : pc.red(`lost: ${row.lost}`);
      console.log(`[${done + 1}/${flags.boots}] ${nameOf(cell)}: ${outcome} ${pc.dim(seen)}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(`${done} boots, ${lost} lost`);
  if (lost > 0) process.exitCode = 1;
}

await new Command('npm run boots --')
  .description(
    'Boots guests by the dozen: microvm and q35, 1 and 4 processors, idle and busy, on the installed QEMU and a newer one.',
  )
  .option('--boots <n>', 'boot this many guests', wholeNumber(1), 300)
  .option('--only <pattern>', 'only cells that match, such as "installed microvm 4 (idle|busy)"')
  .option('--suite <name>', "take the kernel from this Debian suite, not this machine's own")
  .option('--boot-timeout <seconds>', 'count a boot as lost after this time', wholeNumber(1), 60)
  .option('--minutes <n>', 'begin no boot after this time', wholeNumber(1))
  .addOption(
    new Option(
      '--record [folder]',
      'add the boots to boots.jsonl in this folder, or in results/, and write boots.md there',
    ).preset(results),
  )
  .action(main)
  .parseAsync();
