import { Command, Option } from 'commander';
import pc from 'picocolors';
import { failure } from '../src/errors.js';
import { readGivenFile } from '../src/given-file.js';
import {
  describePolicy,
  explain,
  explainObject,
  type PolicyFile,
  profiles,
  type Question,
  questionNames,
  readObject,
  readPolicyFile,
  type Verdict,
  warningsOf,
} from '../src/policy/index.js';
import { table, widthOf } from './text.js';

interface ExplainOptions extends Partial<Record<Question, string[]>> {
  profile: keyof typeof profiles;
  object?: string;
  json?: true;
}

const collect = (value: string, all: string[] = []) => [...all, value];

/** The argument of each question of `waep policy explain`. */
const asked: Readonly<Record<Question, readonly [argument: string, description: string]>> = {
  call: ['command', 'a command of bpf(2), such as map_freeze'],
  program: ['type', 'a type of programs, such as xdp'],
  attach: ['type', 'an attach type, such as trace_fentry'],
  map: ['type', 'a type of maps, such as hash'],
  helper: ['name', 'a helper, such as bpf_send_signal'],
  kfunc: ['name', 'a function of the kernel, such as bpf_rcu_read_lock'],
  hook: ['name', 'what programs attach to, such as sys_enter or vfs_read'],
  uprobe: ['place', 'a place in a file, such as /usr/bin/bash:readline'],
  interface: ['name', 'a network interface'],
  netlink: ['kind', 'a kind of netlink messages'],
  perf: ['type', 'a type of perf events, such as kprobe'],
  pin: ['path', 'a path to pin an object at'],
  cgroup: ['path', 'a path to make a cgroup at'],
  read: ['path', 'a file to read'],
  rate: ['n', 'a number of events a second'],
};

/** `waep policy`: shows what a policy's file means before a guest uses it. */
export function policyCommand(): Command {
  return new Command('policy')
    .summary("check and explain a guest's policy")
    .description('Check and explain a policy file, without a guest.')
    .addCommand(checkCommand())
    .addCommand(explainCommand());
}

function checkCommand(): Command {
  return new Command('check')
    .description(
      'Print the mistakes in a policy file. If there are none, print its rules, and warn of rules that undo others. The exit status is 1 if there is a mistake.',
    )
    .argument('<file>', 'the policy file')
    .option('--json', 'print the rules as an array of {rule, allows, from}')
    .action((file: string, { json }: { json?: true }) => {
      const policy = policyIn(file);
      for (const problem of policy.problems) console.error(pc.red(problem.message));
      if (policy.problems.length > 0) {
        process.exitCode = 1;
        return;
      }
      for (const { from, what, cure } of warningsOf(policy)) {
        console.error(pc.yellow(`${from}: warning: ${what}. ${cure}`));
      }
      const rules = describePolicy(policy);
      if (json) console.log(JSON.stringify(rules, null, 2));
      else {
        const rows = rules.map(({ rule, allows, from }) => [rule, from, allows]);
        print(['rule', 'from', 'allows'], rows);
      }
    });
}

function explainCommand(): Command {
  const command = new Command('explain')
    .description(
      'Say whether a policy allows the things that the options name, and which rule decides. The exit status is 1 if something is refused.',
    )
    .argument('[file]', 'the policy; without a file, explain a profile')
    .addOption(
      new Option('--profile <name>', 'the profile to explain')
        .choices(Object.keys(profiles))
        .default('observe'),
    )
    .option('--object <file>', 'a BPF object file: ask about its programs and what they call')
    .option('--json', 'print an array of {what, allowed, rule, from}');
  for (const question of questionNames) {
    const [argument, description] = asked[question];
    command.option(`--${question} <${argument}>`, `${description}; may be repeated`, collect);
  }
  return command.action((file: string | undefined, options: ExplainOptions) => {
    const policy = readFor(file, options);
    const verdicts = [
      ...questionNames.flatMap((question) =>
        (options[question] ?? []).map((name) => explain(policy, question, name)),
      ),
      ...(options.object === undefined ? [] : objectVerdicts(policy, options.object)),
    ];
    if (verdicts.length === 0) {
      throw failure('ERR_OPTION_INVALID', {
        option: 'explain',
        value: '',
        expected: `something to ask about, such as --helper bpf_send_signal or --object FILE`,
      });
    }
    if (options.json) console.log(JSON.stringify(verdicts, null, 2));
    else printVerdicts(verdicts);
    if (verdicts.some(({ allowed }) => !allowed)) process.exitCode = 1;
  });
}

function policyIn(file: string): PolicyFile {
  return readPolicyFile(readGivenFile('<file>', file, 'a policy file').toString(), file);
}

function objectVerdicts(policy: PolicyFile, file: string): Verdict[] {
  const bytes = readGivenFile('--object', file, 'a BPF object file');
  return explainObject(policy, readObject(bytes, file));
}

/** @throws ERR_POLICY_FILE for the first problem in the file */
function readFor(file: string | undefined, { profile }: ExplainOptions): PolicyFile {
  const policy =
    file === undefined ? readPolicyFile(`profile: ${profile}`, profile) : policyIn(file);
  if (policy.problems[0] !== undefined) throw policy.problems[0];
  return policy;
}

function printVerdicts(verdicts: readonly Verdict[]): void {
  const rows = verdicts.map(({ what, allowed, rule, from }) => [
    allowed ? `${pc.green('✔')} allowed` : `${pc.red('✘')} refused`,
    what,
    rule,
    from,
  ]);
  print(['verdict', 'what', 'rule', 'from'], rows);
}

/** Prints a table; without a terminal, a line for each row. */
function print(head: string[], rows: readonly string[][]): void {
  const titles = head.map((title) => pc.bold(title));
  console.log(table([titles, ...rows], widthOf(process.stdout, Number.POSITIVE_INFINITY)));
}
