/* `npm run paths`: shows which kernel files tools use, and whose they are under `waep run`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Command } from 'commander';
import pc from 'picocolors';
import { boot } from '../../../guest/index.js';
import { cli } from '../../run/application.js';
import { commands } from './commands.js';
import {
  encodeRecording,
  pageFile,
  pageOf,
  type Recording,
  recordingFile,
  type Seen,
} from './page.js';
import { type Named, namedIn, STRACE } from './trace.js';

/** Tools that follow something are interrupted after this. */
const LIMIT_S = 8;
/** Without waep, no tool takes longer to begin. */
const NATIVE_LIMIT_S = 3;
const MEMORY_MIB = 2048;

/** Prepares what tools expect of a machine, in a mount namespace of their own. */
const PREPARED = [
  'mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing',
  'mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug',
  'mount -t bpf bpf /sys/fs/bpf',
  'exec "$@"',
].join('; ');

function isInstalled(command: string): boolean {
  const [name = ''] = command.split(' ');
  return `${process.env.PATH ?? ''}:/usr/sbin`.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Returns the paths that a command names, natively or, with an address, under `waep run`. */
async function trace(command: string, file: string, address?: string): Promise<Named[]> {
  const limitS = address === undefined ? NATIVE_LIMIT_S : LIMIT_S;
  const limited = ['timeout', '-s', 'INT', '-k', '5', `${limitS}`];
  const traced = [...limited, ...STRACE, '-o', file, 'sh', '-c', `exec ${command}`];
  const words =
    address === undefined
      ? ['unshare', '--mount', 'sh', '-c', PREPARED, 'sh', ...traced]
      : [process.execPath, cli, 'run', '--vm', address, '--', ...traced];
  rmSync(file, { force: true });
  const [program = '', ...args] = words;
  const child = spawn(program, args, { stdio: 'ignore', env: { ...process.env, HOME: '/root' } });
  await once(child, 'close');
  try {
    return namedIn(readFileSync(file, 'utf8'));
  } catch {
    return [];
  }
}

async function record(only: RegExp, address: string): Promise<Recording> {
  const chosen = commands.filter((command) => only.test(command));
  const installed = chosen.filter(isInstalled);
  const folder = mkdtempSync(join(tmpdir(), 'waep-paths-'));
  const seen = new Map<string, { calls: Set<string>; tools: Set<string> }>();
  try {
    for (const [index, command] of installed.entries()) {
      const file = join(folder, 'trace');
      const named = [...(await trace(command, file)), ...(await trace(command, file, address))];
      const [tool = ''] = command.split(' ');
      for (const { call, path } of named) {
        const known = seen.get(path) ?? { calls: new Set(), tools: new Set() };
        seen.set(path, known);
        known.calls.add(call);
        known.tools.add(tool);
      }
      const paths = new Set(named.map(({ path }) => path)).size;
      console.log(`[${index + 1}/${installed.length}] ${command} ${pc.dim(`${paths} paths`)}`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  const paths: Seen[] = [...seen]
    .map(([path, { calls, tools }]) => ({
      path,
      calls: [...calls].sort(),
      tools: [...tools].sort(),
    }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  const missing = chosen.filter((command) => !installed.includes(command));
  const tools = [...new Set(missing.map((command) => command.split(' ')[0] as string))].sort();
  return { commands: installed.length, missing: tools, paths };
}

async function recordInGuest(only: RegExp): Promise<Recording> {
  await using guest = await boot({ agent: { profile: 'full' }, memoryMib: MEMORY_MIB });
  return record(only, guest.vsock());
}

new Command('npm run paths --')
  .description('Lists the files of a kernel that tools look at, and whose they are under waep run.')
  .option('--only <pattern>', 'only commands that match this regular expression', '')
  .option('--vm <address>', 'the guest of an agent with the profile full; one is booted by default')
  .option('--record', 'keep the list in results/paths.*', false)
  .action(async ({ only, vm, record: keeps }: { only: string; vm?: string; record: boolean }) => {
    const pattern = new RegExp(only);
    const recording = vm === undefined ? await recordInGuest(pattern) : await record(pattern, vm);
    if (!keeps) return console.log(pageOf(recording));
    writeFileSync(recordingFile, encodeRecording(recording));
    writeFileSync(pageFile, pageOf(recording));
  })
  .parseAsync()
  .catch((error: Error) => {
    console.error(pc.red(error.stack ?? error.message));
    process.exitCode = 1;
  });
