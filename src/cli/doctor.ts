import { accessSync, constants, existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Command } from 'commander';
import pc from 'picocolors';
import { knownKernel } from '../../guest/image/kernel.js';
import { boot } from '../../guest/index.js';
import { agentPath, cacheFolder } from '../../guest/paths.js';
import { chooseAccelerator, qemuVersion } from '../../guest/qemu/accelerator.js';
import { kernelVsockProblem } from '../../guest/qemu/vsock.js';
import { findTool, type Tool, tools } from '../../guest/tools.js';
import { nativeFile } from '../native.js';
import { hasVsockLoopback } from '../transport/index.js';
import { type ProgressLine, progressLine } from './progress.js';

/**
 * What a check found: `ok`; `lesser`, when there is another way that does as well or nearly; or
 * `lacking`, when no guest can be booted without it.
 */
type Status = 'ok' | 'lesser' | 'lacking';

/** One row of the table. */
interface Finding {
  check: string;
  status: Status;
  found: string;
  /** What to do about it, where something can be done. */
  cure?: string;
}

type Check = (progress: ProgressLine) => Finding | Promise<Finding>;

const marks: Record<Status, string> = {
  ok: pc.green('✔'),
  lesser: pc.yellow('○'),
  lacking: pc.red('✘'),
};

const checks: readonly Check[] = [
  checkRoot,
  checkAddon,
  checkAgent,
  checkQemu,
  ...tools.filter(concernsGuests).map(checkTool),
  checkKernel,
  checkVhostVsock,
  checkLoopback,
  checkTap,
  checkDisk,
  checkKvm,
];

function concernsGuests({ tool, for: purposes }: Tool): boolean {
  return tool !== 'qemu-system-x86_64' && purposes.some((purpose) => purpose !== 'fuzz');
}

/** `waep doctor`: what this machine has for guests and what it lacks, with cures. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .summary('what this machine has for guests and what it lacks')
    .description(
      'Says what this machine has for running guests and what it lacks, with cures. Ends with 1 if no guest can be booted.',
    )
    .option('--json', 'print an array of {check, status, found, cure}')
    .action(async ({ json }: { json?: true }) => {
      const progress = progressLine();
      const findings: Finding[] = [];
      for (const check of checks) findings.push(await check(progress));
      progress.clear();
      if (json) console.log(JSON.stringify(findings, null, 2));
      else print(findings);
      if (findings.some(({ status }) => status === 'lacking')) process.exitCode = 1;
    });
}

function print(findings: readonly Finding[]): void {
  const width = Math.max(...findings.map(({ check }) => check.length));
  const indent = ' '.repeat(width + 4);
  for (const { check, status, found, cure } of findings) {
    const text = wrapped(found, (process.stdout.columns ?? 120) - indent.length);
    console.log(`${marks[status]} ${check.padEnd(width)}  ${text.join(`\n${indent}`)}`);
    if (cure !== undefined) console.log(`${indent}${pc.cyan(`→ ${cure}`)}`);
  }
  const lacking = findings.filter(({ status }) => status === 'lacking').length;
  console.log(
    lacking === 0
      ? `\nA guest can be booted here: ${pc.bold('npx waep vm')}`
      : `\nNo guest can be booted here until ${lacking === 1 ? 'the one thing' : `the ${lacking} things`} marked ${marks.lacking} ${lacking === 1 ? 'is' : 'are'} there.`,
  );
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

function checkRoot(): Finding {
  const root = process.getuid?.() === 0;
  if (root) return { check: 'privileges', status: 'ok', found: 'root' };
  return {
    check: 'privileges',
    status: 'lesser',
    found: 'not root: guests get the user-mode network, which is slow',
    cure: 'run as root for figures of the TCP road',
  };
}

function checkAddon(): Finding {
  return { check: 'addon', status: 'ok', found: nativeFile('waep.node') };
}

function checkAgent(): Finding {
  if (existsSync(agentPath)) return { check: 'agent', status: 'ok', found: agentPath };
  const cure = 'npm run build';
  return { check: 'agent', status: 'lacking', found: 'its bundle is not built', cure };
}

async function checkQemu(): Promise<Finding> {
  const check = 'QEMU';
  if (findTool('qemu-system-x86_64') !== undefined) {
    return { check, status: 'ok', found: await qemuVersion() };
  }
  return { check, status: 'lacking', found: 'missing', cure: 'apt-get install qemu-system-x86' };
}

/** Programs without which a guest boots all the same: they serve the build and the tests. */
const dispensable = new Set([
  'g++',
  'make',
  'python3',
  'gcc',
  'ip',
  'xz',
  'zstd',
  'lz4',
  'socat',
  'bpftool',
]);

function checkTool({ tool, package: name, why }: Tool): Check {
  return () => {
    const path = findTool(tool);
    if (path !== undefined) return { check: tool, status: 'ok', found: path };
    const status = dispensable.has(tool) ? 'lesser' : 'lacking';
    return { check: tool, status, found: `missing: it ${why}`, cure: `apt-get install ${name}` };
  };
}

async function checkKernel(): Promise<Finding> {
  const check = 'guest kernel';
  const known = await knownKernel();
  if (known !== undefined) return { check, status: 'ok', found: `${known.origin}, in the cache` };
  if (findTool('apt-get') !== undefined) {
    return { check, status: 'ok', found: 'not in the cache; the first guest fetches it' };
  }
  return {
    check,
    status: 'lesser',
    found: 'none, and no apt-get to fetch one',
    cure: 'name one with --kernel and --modules',
  };
}

function checkVhostVsock(): Finding {
  const check = 'vhost-vsock';
  const problem = kernelVsockProblem();
  if (problem === undefined)
    return { check, status: 'ok', found: '/dev/vhost-vsock can be opened' };
  return {
    check,
    status: 'lesser',
    found: `${problem}; waep serves guests itself`,
    cure: 'modprobe vhost_vsock',
  };
}

function checkLoopback(): Finding {
  const check = 'vsock loopback';
  if (hasVsockLoopback()) return { check, status: 'ok', found: 'CID 1 can be bound' };
  return {
    check,
    status: 'lesser',
    found: 'CID 1 cannot be bound: no vsock within this machine',
    cure: 'modprobe vsock_loopback',
  };
}

function checkTap(): Finding {
  const check = 'tap';
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    const found = '/dev/net/tun cannot be opened; guests get the user-mode network';
    return { check, status: 'lesser', found, cure: 'modprobe tun' };
  }
  return { check, status: 'ok', found: '/dev/net/tun can be opened' };
}

const NEEDED_GIB = 1;

async function checkDisk(): Promise<Finding> {
  const check = 'disk';
  let folder = cacheFolder();
  while (!existsSync(folder)) folder = dirname(folder);
  const { bavail, bsize } = await statfs(folder);
  const gib = (bavail * bsize) / 2 ** 30;
  const found = `${gib.toFixed(1)} GiB free for ${cacheFolder()}`;
  if (gib >= NEEDED_GIB) return { check, status: 'ok', found };
  const cure = `free ${NEEDED_GIB} GiB there, or set WAEP_CACHE_DIR`;
  return { check, status: 'lacking', found, cure };
}

/** The last check: where nothing is known yet, only a guest can tell. */
async function checkKvm(progress: ProgressLine): Promise<Finding> {
  const check = 'KVM';
  if (findTool('qemu-system-x86_64') === undefined || findTool('busybox') === undefined) {
    return { check, status: 'lesser', found: 'not tried: a guest cannot be booted yet' };
  }
  try {
    let verdict = await chooseAccelerator('auto');
    if (!verdict.proven) {
      await using _ = await boot({
        agent: false,
        network: 'none',
        vsock: 'none',
        progress: progress.show,
        notice: () => {},
      });
      verdict = await chooseAccelerator('auto');
    }
    if (verdict.accelerator === 'kvm') return { check, status: 'ok', found: verdict.why };
    return {
      check,
      status: 'lesser',
      found: `not used, guests are emulated (TCG), which is slow: ${verdict.why}`,
      cure: 'a host with working hardware virtualisation',
    };
  } catch (error) {
    return { check, status: 'lacking', found: (error as Error).message };
  }
}
