import Table from 'cli-table3';
import { Command } from 'commander';
import pc from 'picocolors';
import { type Finding, type Preflight, preflight } from '../session/index.js';
import { type ConnectionOptions, connectionOptions, openSession } from './connection.js';

/** `waep preflight`: what can be done in a guest, before something is done. */
export function preflightCommand(): Command {
  return connectionOptions(new Command('preflight'))
    .summary("what a guest's kernel offers and its policy leaves of it")
    .description(
      "Asks a guest's kernel what it offers (types, probes, program and map types, helpers), and says what the guest's policy leaves of it.",
    )
    .option('--json', 'print {kernel, profile, btf, lockdown, facilities, programTypes, …}')
    .action(async ({ json, ...options }: ConnectionOptions & { json?: true }) => {
      const session = await openSession(options, { client: 'waep preflight' });
      try {
        const found = await preflight(session);
        if (json) console.log(JSON.stringify(found, null, 2));
        else print(found);
      } finally {
        session.close();
      }
    });
}

function print(found: Preflight): void {
  const { kernel, profile, lockdown, facilities, programTypes, mapTypes, helpers } = found;
  const { maxEventsPerSecond } = found;
  const rate =
    maxEventsPerSecond === 0 ? 'any number of events' : `at most ${maxEventsPerSecond} events`;
  console.log(
    `Linux ${kernel}, lockdown ${lockdown ?? 'cannot be read'}, under the policy "${profile}", ${rate} a second\n`,
  );
  const groups: readonly (readonly [string, readonly Finding[]])[] = [
    ['facilities', facilities],
    ['program types', programTypes],
    ['map types', mapTypes],
    ['helpers', helpers],
  ];
  const table = new Table({
    head: ['', 'there and allowed', 'not in this kernel', 'not known', 'refused by the policy'],
    style: { head: [], border: [] },
    wordWrap: true,
    colWidths: columns(process.stdout.columns ?? 120),
  });
  for (const [group, findings] of groups) {
    const names = (which: (finding: Finding) => boolean) =>
      findings
        .filter(which)
        .map(({ name }) => name)
        .join(' ');
    const asked = findings.filter(({ refusedBy }) => refusedBy === undefined);
    const there = asked.filter(({ offered }) => offered === true);
    table.push([
      `${group}\n${there.length} of ${findings.length}`,
      pc.green(names((one) => one.offered === true)),
      names((one) => one.offered === false),
      unknown(findings),
      pc.yellow(names((one) => one.refusedBy !== undefined)),
    ]);
  }
  console.log(table.toString());
}

/** What could not be asked for, each reason once. */
function unknown(findings: readonly Finding[]): string {
  const reasons = new Map<string, string[]>();
  for (const { name, offered, refusedBy, why = 'not asked for' } of findings) {
    if (offered === undefined && refusedBy === undefined) {
      reasons.set(why, [...(reasons.get(why) ?? []), name]);
    }
  }
  return [...reasons].map(([why, names]) => `${names.join(' ')}: ${why}`).join('\n');
}

/** Widths of the columns on a terminal of this width. */
function columns(width: number): number[] {
  const rest = Math.max(60, width - 22);
  return [
    16,
    Math.floor(rest * 0.4),
    Math.floor(rest * 0.2),
    Math.floor(rest * 0.15),
    Math.floor(rest * 0.25),
  ];
}
