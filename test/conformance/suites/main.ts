/* `npm run suites`: runs other projects' tests of bpf(2) on all sides, and writes the page. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import pc from 'picocolors';
import type { Progress } from '../../../guest/index.js';
import { Session } from '../../../src/index.js';
import { kernelNamed } from '../../kernels.js';
import { census } from '../compat/census.js';
import { bootEquipped, describeGuest, joinGuest, openGuest } from '../compat/equipped-guest.js';
import { guestSide, hostSide, leftovers, type Side, withinSide } from '../compat/sides.js';
import { buildSuite, type Suite, type TestProgram } from './build.js';
import { causes, compare, isUnexplained, type Played, type Result } from './compare.js';
import { testOf } from './go-test.js';
import { record } from './store.js';

const MAIN_KERNEL = '6.1';
/** Tests change networks, mounts and cgroups. On this machine they have ones of their own. */
const apart = [
  ...['unshare', '--net', '--mount', '--cgroup', '--', 'sh', '-c'],
  ...['ip link set lo up && exec "$@"', 'sh'],
];

const sides: Readonly<Record<string, string>> = {
  guest: 'in the guest',
  within: 'forwarded within the guest',
  host: 'forwarded from the host',
};

interface Flags {
  only: string;
  program?: string[];
  kernel: string;
  keep?: string;
  join?: string;
  record: boolean;
  verbose: boolean;
}

async function keepGuest(path: string, kernel: string, progress: Progress): Promise<void> {
  const suite = await buildSuite(progress);
  await using guest = await bootEquipped(suite, progress, kernelNamed(kernel));
  await writeFile(path, describeGuest(guest, suite));
  console.log(`The guest is up; in another terminal: npm run suites -- --join ${path}`);
  await Promise.race([guest.ended, once(process, 'SIGINT')]);
}

async function runSuite(suite: Suite, flags: Flags, progress: Progress): Promise<Result[]> {
  const startedMs = performance.now();
  const at = new Date().toISOString();
  const only = new RegExp(flags.only);
  await using guest = await (flags.join === undefined
    ? openGuest(suite, progress, kernelNamed(flags.kernel))
    : joinGuest(flags.join));
  await using session = await Session.connect(guest.agent);
  const [inside, within] = [guestSide(guest, {}), withinSide(guest, {})];
  const outside = hostSide(guest.agent, {}, apart);
  const results: Result[] = [];
  const programs = chosen(suite, flags);
  for (const { name, play: playOn, patience } of programs) {
    const play = async (side: Side, wanted = (test: string) => only.test(test)) => {
      progress(`running ${name}, ${sides[side.name]}`);
      const before = await census(session);
      const tested = await playOn(side, wanted);
      const left = await leftovers(session, before);
      if (left.length === 0 || side.name === 'guest') return tested;
      throw new Error(`The tests of ${name} leave ${left.join(', ')} (${side.name}).`);
    };
    const forwarded = { guest: await play(inside), within: await play(within) };
    // A refusal needs no second run.
    const unexplained = compare(flags.kernel, name, { ...forwarded, host: [], patient: [] }).filter(
      (result) => result.within !== result.guest && isUnexplained(result),
    );
    const again = new Set(unexplained.map(({ test }) => `${name}/${testOf(test)}`));
    const played = {
      ...forwarded,
      host: await play(outside),
      patient:
        patience === undefined || again.size === 0
          ? []
          : await play(preloading(within, patience), (test) => again.has(test)),
    };
    const compared = compare(flags.kernel, name, played);
    results.push(...compared);
    show(name, compared);
    if (flags.verbose) showOutputs(causes(compared).filter(isUnexplained), played);
  }
  if (flags.record) {
    const { kernel, kernelOrigin, accel } = guest.info;
    const tookS = Math.round((performance.now() - startedMs) / 1000);
    const origins = [...new Set(programs.map(({ origin }) => origin))].join('; ');
    const names = programs.map(({ name }) => name);
    const part = flags.only === '' ? {} : { only: flags.only };
    const ran = { name: flags.kernel, programs: names, ...part, suite: origins, at, tookS };
    await record({ ...ran, kernel, kernelOrigin, accel }, results);
  }
  return results;
}

/** Returns a side on which programs load this library first. */
function preloading(side: Side, library: string): Side {
  return {
    name: side.name,
    start: (command) => side.start(`export LD_PRELOAD='${library}'; ${command}`),
  };
}

function chosen({ programs }: Suite, { program: names }: Flags): readonly TestProgram[] {
  const unknown = names?.find((name) => programs.every((one) => one.name !== name));
  if (unknown === undefined) return programs.filter(({ name }) => names?.includes(name) ?? true);
  const known = programs.map(({ name }) => name).join(', ');
  throw new Error(`There is no program ${unknown}. Expected one of ${known}.`);
}

function show(name: string, results: readonly Result[]): void {
  if (results.length === 0) return;
  const passed = (side: keyof Played) => results.filter((one) => one[side] === 'pass').length;
  console.log(
    `${name}: ${passed('guest')} pass in the guest, ${passed('within')} forwarded within the guest, ${passed('host')} forwarded from the host`,
  );
  for (const { test, guest, within, host, why, said } of causes(results)) {
    const reason = why === '' ? pc.red(said) : pc.dim(why);
    console.log(
      `  ${test}: ${within} within the guest, ${host} from the host, instead of ${guest}\n      ${reason}`,
    );
  }
}

function showOutputs(results: readonly Result[], played: Played): void {
  for (const { test } of results) {
    for (const side of ['within', 'host'] as const) {
      const { output = '' } = played[side].find(({ name }) => name === test) ?? {};
      console.log(`--- ${test} (${side})\n${output}`);
    }
  }
}

new Command('npm run suites --')
  .description(
    "Runs the tests of cilium/ebpf and the kernel's own in a guest, forwarded within it and forwarded from the host, and compares.",
  )
  .option('--only <pattern>', 'only tests whose PACKAGE/TEST matches this regular expression', '')
  .option(
    '--program <name>',
    'only this program of tests, such as link or test_maps; may be given several times',
    (name: string, before: string[] = []) => [...before, name],
  )
  .addOption(
    new Option('--kernel <name>', 'a kernel such as 6.12, or a suite of Debian such as sid')
      .default(MAIN_KERNEL)
      .conflicts('join'),
  )
  .addOption(
    new Option(
      '--record',
      'keep the results of this kernel and these tests in results/suites.*',
    ).default(false),
  )
  .option('--keep <file>', 'boot the guest, describe it in a file, and keep it until Ctrl-C')
  .option('--join <file>', 'use the guest that the file describes')
  .option('--verbose', 'show what tests print that differ for an unknown reason', false)
  .action(async (flags: Flags) => {
    const progress = (line: string) => console.error(pc.dim(line));
    if (flags.keep !== undefined) return keepGuest(flags.keep, flags.kernel, progress);
    const results = await runSuite(await buildSuite(progress), flags, progress);
    if (results.length === 0)
      throw new Error(`No test matches ${flags.only}. Expected PACKAGE/TEST.`);
    if (results.some(isUnexplained)) process.exitCode = 1;
  })
  .parseAsync()
  .catch((error: Error) => {
    console.error(pc.red(error.stack ?? error.message));
    process.exitCode = 1;
  });
