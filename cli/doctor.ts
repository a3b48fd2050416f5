import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import { Command } from 'commander';
import pc from 'picocolors';
import { knownKernel, ownKernel } from '../guest/image/kernel.js';
import { boot } from '../guest/index.js';
import { locate, purposesOf, type Tool, toolsFor } from '../guest/tool-table.mjs';
import { cureFor, findTool, manager, table } from '../guest/tools.js';
import {
  type AcceleratorName,
  acceleratorName,
  acceleratorNames,
  chooseAccelerator,
  kvmProblem,
  type Verdict,
} from '../guest/vm/qemu/accelerator.js';
import { kernelVsockProblem } from '../guest/vm/qemu/vsock.js';
import { nativeFile } from '../src/native.js';
import { agentPath, cacheFolder } from '../src/paths.js';
import { hasVsockLoopback } from '../src/transport/index.js';
import { type ProgressLine, progressLine } from './progress.js';
import { widthOf, wrapped } from './text.js';

/** One row of the table. */
export interface Finding {
  check: string;
  /**
   * The result of the check. `ok`: nothing is wrong. `lesser`: every purpose works, some in part or
   * more slowly. `lacking`: some purpose cannot work.
   */
  status: 'ok' | 'lesser' | 'lacking';
  found: string;
  /** The cure, if there is one. */
  cure?: string;
  /** With `lacking`: the purposes that cannot work. */
  neededFor?: string[];
}

/** The result for one purpose. */
export interface Answer {
  purpose: string;
  /** The command that serves the purpose. */
  command: string;
  /** Whether nothing is lacking. */
  ready: boolean;
  /** The names of the checks with the status `lacking`. */
  lacking: string[];
  /** One command that installs the missing tools. */
  cure?: string;
}

const marks: Record<Finding['status'], string> = {
  ok: pc.green('✔'),
  lesser: pc.yellow('○'),
  lacking: pc.red('✘'),
};

/** `waep doctor`: reports what this machine has and lacks for each purpose, with cures. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .summary('check what this machine has and lacks')
    .description(
      `Check what this machine has and lacks for each purpose (${Object.keys(table.purposes).join(', ')}), and say how to get what is lacking. The exit status is 1 if a guest cannot be booted here.`,
    )
    .option(
      '--json',
      'print {purposes: [{purpose, command, ready, lacking, cure}], findings: [{check, status, found, cure, neededFor}]}',
    )
    .action(async ({ json }: { json?: true }) => {
      const progress = progressLine();
      const findings = await examine(progress);
      progress.clear();
      const purposes = answers(findings);
      if (json) console.log(JSON.stringify({ purposes, findings }, null, 2));
      else console.log(rendered(purposes, findings, widthOf(process.stdout, USUAL_WIDTH)));
      if (!purposes.every(({ purpose, ready }) => purpose !== 'guest' || ready)) {
        process.exitCode = 1;
      }
    });
}

async function examine(progress: ProgressLine): Promise<Finding[]> {
  const findings = [
    checkRoot(),
    { check: 'addon', status: 'ok' as const, found: nativeFile('waep.node') },
    checkAgent(),
    ...table.tools.filter(isToBeInstalled).map(checkTool),
    await checkKernel(),
    checkVhostVsock(),
    checkLoopback(),
    checkTap(),
    await checkDisk(),
  ];
  // The last check may boot a guest to try KVM, which is possible only if the other checks succeed.
  const ready = answers(findings).some(({ purpose, ready }) => purpose === 'guest' && ready);
  return [...findings, await checkKvm(ready, progress)];
}

/** Returns the result for each purpose from the findings. */
export function answers(findings: readonly Finding[]): Answer[] {
  return Object.entries(table.purposes).map(([purpose, { command }]) => {
    const lacking = findings
      .filter(({ neededFor }) => neededFor?.includes(purpose) === true)
      .map(({ check }) => check);
    const missing = table.tools.filter(({ tool }) => lacking.includes(tool));
    return {
      purpose,
      command,
      ready: lacking.length === 0,
      lacking,
      ...(missing.length > 0 && { cure: cureFor(missing) }),
    };
  });
}

/** Without a terminal, as wide as lines of a log may be. */
const USUAL_WIDTH = 120;

/** Returns the report as text for a terminal of this width. */
export function rendered(
  purposes: readonly Answer[],
  findings: readonly Finding[],
  width: number,
): string {
  const labelWidth = Math.max(...findings.map(({ check }) => check.length));
  const indent = ' '.repeat(labelWidth + 4);
  const entry = (status: Finding['status'], label: string, text: string, cure?: string) => {
    const lines = wrapped(text, width - indent.length);
    return [
      `${marks[status]} ${label.padEnd(labelWidth)}  ${lines.join(`\n${indent}`)}`,
      // A command that is longer than the line can be copied, because only the terminal breaks it.
      ...(cure === undefined ? [] : [`${indent}${pc.cyan(`→ ${cure}`)}`]),
    ];
  };
  return [
    ...findings.flatMap(({ check, status, found, cure, neededFor = [] }) => {
      const needed = neededFor.length === 0 ? '' : ` (needed for: ${neededFor.join(', ')})`;
      return entry(status, check, found + needed, cure);
    }),
    '',
    ...purposes.flatMap(({ purpose, command, ready, lacking, cure }) =>
      ready
        ? entry('ok', purpose, `nothing is lacking: ${pc.bold(command)}`)
        : entry('lacking', purpose, `lacks ${lacking.join(', ')}`, cure),
    ),
  ].join('\n');
}

/** The purposes that need a guest to be booted. */
const guestPurposes = Object.keys(table.purposes).filter((purpose) =>
  purposesOf(table, purpose).includes('guest'),
);

function checkRoot(): Finding {
  const check = 'privileges';
  if (process.getuid?.() === 0) return { check, status: 'ok', found: 'root' };
  return {
    check,
    status: 'lesser',
    found: 'not root: guests get the user-mode network, which is slow',
    cure: 'run as root for figures of the TCP transport',
  };
}

function checkAgent(): Finding {
  const check = 'agent';
  if (existsSync(agentPath)) return { check, status: 'ok', found: agentPath };
  const found = 'its bundle is not built';
  return { check, status: 'lacking', found, cure: 'npm run build', neededFor: guestPurposes };
}

function isToBeInstalled({ fetched }: Tool): boolean {
  return manager === undefined || fetched?.includes(manager) !== true;
}

function checkTool(row: Tool): Finding {
  const { tool, why } = row;
  const path = locate(row);
  if (path !== undefined) return { check: tool, status: 'ok', found: path };
  const neededFor = Object.keys(table.purposes).filter((purpose) =>
    toolsFor(table, purpose, manager).includes(row),
  );
  const status = neededFor.length === 0 ? 'lesser' : 'lacking';
  return { check: tool, status, found: `missing: it ${why}`, cure: cureFor([row]), neededFor };
}

async function checkKernel(): Promise<Finding> {
  const check = 'guest kernel';
  const known = await knownKernel();
  if (known !== undefined) return { check, status: 'ok', found: `${known.origin}, in the cache` };
  const own = await ownKernel();
  const instead = own === undefined ? '' : `; if it cannot, guests get ${own.image}`;
  if (findTool('apt-get') !== undefined) {
    const found = `none in the cache: the first guest fetches one over the network${instead}`;
    return { check, status: 'ok', found };
  }
  if (own !== undefined) return { check, status: 'ok', found: `this machine's own, ${own.image}` };
  return {
    check,
    status: 'lacking',
    found: 'none in /boot and /lib/modules that can be read',
    cure: "install the distribution's kernel, or name one with --kernel and --modules",
    neededFor: guestPurposes,
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
  return { check, status: 'lacking', found, cure, neededFor: guestPurposes };
}

async function checkKvm(ready: boolean, progress: ProgressLine): Promise<Finding> {
  const check = 'KVM';
  const problem = kvmProblem();
  if (problem !== undefined) return kvmRefused(problem, kvmGroup(), userName());
  if (!ready) {
    const found = '/dev/kvm can be opened; whether a guest runs on it was not tried';
    return { check, status: 'lesser', found };
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
    return kvmTried(verdict, acceleratorName('kvm'));
  } catch (error) {
    const found = `a guest was tried and did not boot: ${(error as Error).message}`;
    return { check: 'a guest', status: 'lacking', found, neededFor: guestPurposes };
  }
}

const emulated = 'guests are emulated (TCG), which is slow';

/**
 * Returns the finding for a /dev/kvm that does not exist or that this user cannot open.
 *
 * @param group the group that may open the device; `null` if no group may, `undefined` if there is
 *   no device
 */
export function kvmRefused(
  problem: string,
  group: string | null | undefined,
  user: string,
): Finding {
  return {
    check: 'KVM',
    status: 'lesser',
    found: `${problem}; ${emulated}`,
    cure: kvmCure(group, user),
  };
}

function kvmCure(group: string | null | undefined, user: string): string {
  if (group === undefined) {
    return 'a machine with hardware virtualisation; in a virtual machine, nested virtualisation of its host';
  }
  if (user === 'root') return 'let this container open the device (--device /dev/kvm)';
  if (group === null) return `as root: setfacl -m u:${user}:rw /dev/kvm`;
  return `as root: usermod -aG ${group} ${user}; then log in again`;
}

/** Returns this user's name. A container may run a user without a name. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `${process.getuid?.()}`;
  }
}

const GROUP_MAY_USE = 0o060;

/** Returns the group that may open /dev/kvm, as {@link kvmRefused} takes it. */
function kvmGroup(): string | null | undefined {
  if (!existsSync('/dev/kvm')) return undefined;
  const { gid, mode } = statSync('/dev/kvm');
  if ((mode & GROUP_MAY_USE) !== GROUP_MAY_USE || gid === 0) return null;
  const groups = readFileSync('/etc/group', 'utf8');
  return groups.match(new RegExp(`^([^:]+):[^:]*:${gid}:`, 'm'))?.[1] ?? `${gid}`;
}

/** Returns the finding for a KVM with this name that has run a test guest. */
export function kvmTried({ accelerator, why }: Verdict, name: AcceleratorName): Finding {
  const check = 'KVM';
  if (accelerator !== 'kvm') return { check, status: 'lesser', found: `${why}; ${emulated}` };
  if (name === 'kvm') return { check, status: 'ok', found: why };
  const found = `${why}; but it is ${acceleratorNames[name]}, whose figures say nothing about a processor with virtualisation`;
  return { check, status: 'lesser', found };
}
