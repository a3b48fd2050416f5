import { once } from 'node:events';
import { accessSync, constants, existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { Command, Option } from 'commander';
import { failure, systemError } from '../../src/errors.js';
import { startWithoutRings } from '../../src/event-loop.js';
import { native } from '../../src/native.js';
import { profiles } from '../../src/policy/profiles.js';
import { duration } from '../../src/quantity.js';
import { MAX_TIMER_MS } from '../../src/timer.js';
import { parseAddress } from '../../src/transport/index.js';
import { wholeNumber } from '../../src/whole-number.js';
import { Agent } from './agent.js';
import { AuditLog, type Level, levels } from './audit.js';
import {
  type ConfigurationOptions,
  handOver,
  Reloader,
  readConfiguration,
} from './configuration.js';
import { provideFileSystems, remarksOn } from './file-systems.js';
import { kernelInfo } from './kernel-info.js';
import { ServiceManager } from './service-manager.js';

interface Options extends ConfigurationOptions {
  listen: string[];
  insecureTcp: boolean;
  helloTimeoutMs: number;
  maxSessions: number;
  silenceMs: number;
  eventNice: number;
  auditMaxBytes: number;
  auditKeep: number;
  quiet: boolean;
  logLevel: Level;
  stopTimeout: number;
  strictReload: boolean;
  handOver: boolean;
}

// auditd has the same default for the same work (priority_boost).
const DEFAULT_EVENT_NICE = -4;

const collect = (value: string, all: string[]) => [...all, value];

const program = new Command('waep-agent')
  .description("Make a host's bpf(2) calls in this machine's kernel, within the rules of a policy.")
  .option(
    '--listen <address>',
    'an address on which to accept sessions; may be given several times',
    collect,
    [],
  )
  .addOption(
    new Option('--profile <name>', 'a ready policy: what sessions may do')
      .choices(Object.keys(profiles))
      .default('observe')
      .conflicts('policy'),
  )
  .option(
    '--policy <file>',
    'a policy file (YAML), in place of a profile: what sessions may do, and who may open them',
  )
  .option(
    '--any-source-port',
    'accept vsock peers with any source port; needed behind a multiplexer, which chooses the port. Peers of this machine itself (CID 1 and its own) still need a port below 1024',
    false,
  )
  .option(
    '--keys <folder>',
    'a folder of "waep keys": its ca.crt, agent.crt and agent.key replace the three options below; clients need a certificate as well then',
  )
  .option('--tls-cert <file>', "this agent's certificate; clients need one as well then")
  .option('--tls-key <file>', 'the key of --tls-cert')
  .option('--tls-ca <file>', "the certificate of the authority that signs the clients'")
  .option(
    '--tls-crl <file>',
    'the certificates that the authority has revoked; by default crl.pem of --keys, where it has one',
  )
  .addOption(
    new Option('--tls-on <transport>', 'where clients need a certificate')
      .choices(['all', 'tcp'])
      .default('all'),
  )
  .option('--insecure-tcp', 'accept sessions over TCP from anybody who can reach the port', false)
  .option(
    '--hello-timeout-ms <n>',
    'how long a client may take until its first message',
    wholeNumber(1, MAX_TIMER_MS),
    5000,
  )
  .option('--max-sessions <n>', 'how many sessions may be open at once', wholeNumber(1, 65_535), 64)
  .option(
    '--max-lease-ms <n>',
    'the longest lease: how long a session may outlive its connection, if its client asks for a lease; 0 for none',
    wholeNumber(0, MAX_TIMER_MS),
  )
  .option(
    '--silence-ms <n>',
    'a connection counts as lost when its client was silent for so long; 0 for never',
    wholeNumber(0, MAX_TIMER_MS),
    60_000,
  )
  .option(
    '--event-nice <n>',
    'the nice value of the thread that reads events, from -20 (most urgent) to 19; a less urgent thread loses more events of a busy guest',
    wholeNumber(-20, 19),
    DEFAULT_EVENT_NICE,
  )
  .option(
    '--audit <file>',
    'write the log to this file, with what sessions load, attach and pin; - is standard output, syslog the log of this machine. Without this option, standard output has sessions and refusals',
  )
  .option(
    '--audit-max-bytes <n>',
    'when the log has this size, rename the file to FILE.1 and begin a new one',
    wholeNumber(4096),
    16 * 1024 * 1024,
  )
  .option(
    '--audit-keep <n>',
    'how many older files are kept, FILE.1 being the newest; 0 empties the file instead',
    wholeNumber(0, 999),
    4,
  )
  .option('--quiet', 'write no lines on sessions to standard output', false)
  .addOption(
    new Option(
      '--log-level <level>',
      'which lines on sessions standard output has: refusals are warnings, and connections that say nothing are for debug',
    )
      .choices(levels)
      .default('info'),
  )
  .option(
    '--stop-timeout <duration>',
    'how long sessions may go on after SIGTERM or SIGINT, such as 30s; a second signal ends them',
    duration(0),
    0,
  )
  .option('--strict-reload', 'end all sessions when SIGHUP has the files read again', false)
  .addOption(new Option('--hand-over').hideHelp().default(false))
  .addHelpText(
    'after',
    `
SIGHUP has the policy, the certificates and the revocation list read again, and the audit log opened
anew. Sessions that are open keep their rules. If a file is wrong, nothing changes.`,
  );

async function main(): Promise<void> {
  const options = program.parse().opts<Options>();
  if (options.handOver) {
    // The keeper that was passed to the agent goes on.
    process.exit(await handOver(options, options.eventNice));
  }
  startWithoutRings();
  const listen = options.listen.length === 0 ? ['vsock:any:1024'] : options.listen;
  for (const address of listen) parseAddress(address);
  const manager = new ServiceManager(process.env);
  const logs = openLogs(options);
  const isSecured = options.keys !== undefined || options.tlsCert !== undefined;
  const open = listen.find((address) => address.startsWith('tcp:'));
  if (open !== undefined && !options.insecureTcp && !isSecured) {
    throw failure('ERR_OPTION_INVALID', {
      option: '--listen',
      value: open,
      expected:
        'an address whose peers can be told apart; anybody may connect over TCP. Give --keys, or --insecure-tcp if that is meant',
    });
  }
  // This must come before anything reads the kernel's file systems, and before the first executor.
  const provisions = provideFileSystems();
  for (const remark of remarksOn(provisions, kernelInfo().btf)) {
    console.error(`waep-agent: ${remark}`);
  }
  const { terms, rules } = await readConfiguration(options);
  if (options.audit !== undefined) for (const log of logs) log.begin({ policy: terms.profile });
  const agent = new Agent({
    ...terms,
    rules,
    // The bundler puts the package's version here.
    name: `waep-agent/${process.env.WAEP_VERSION}`,
    helloTimeoutMs: options.helloTimeoutMs,
    maxSessions: options.maxSessions,
    silenceMs: options.silenceMs,
    eventNice: options.eventNice,
    keepsSpare: true,
  });
  for (const log of logs) log.follow(agent);
  agent.on('failed', ({ address, error }) => {
    console.error(`waep-agent: not listening on ${address} any more: ${error.message}`);
  });
  agent.on('fault', ({ peer, error }) => {
    console.error(`waep-agent: the connection of ${peer}: ${error.message}`);
  });
  // Whoever reads that the agent is ready may send a signal at once.
  let begin: (reload: () => Promise<void>) => void = () => {};
  const begun = new Promise<() => Promise<void>>((resolve) => {
    begin = resolve;
  });
  let reloading = Promise.resolve();
  process.on('SIGHUP', () => {
    reloading = reloading.then(async () => (await begun)());
  });
  const stop = Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
  for (const address of listen) {
    await agent.listen(address).catch((error: Error) => {
      throw unlistenable(address, error);
    });
    console.log(`waep-agent: listening on ${address}`);
  }
  // The reloader must start in the agent's cgroup, and before the agent gives up its rights.
  const reloader = new Reloader();
  confine(options);
  const status = `accepting sessions under the policy ${terms.profile}`;
  manager.ready(status);
  begin(() => reload(agent, logs, reloader, manager, options));
  await Promise.race([stop, deserted(agent)]);
  manager.stopping();
  reloader.close();
  if (agent.listening === 0) {
    console.error('waep-agent: ending, since no address is left to listen on');
    process.exitCode = 1;
  }
  // The second signal means that the agent must not wait.
  const again = Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
  await Promise.race([agent.drain(options.stopTimeout), again]);
  await agent.close();
}

/** Names the address if it is what cannot be listened on. */
function unlistenable(address: string, error: Error): Error {
  if (!('syscall' in error)) return error;
  const { path } = parseAddress(address) as { path?: string };
  const folder = path === undefined ? '/' : dirname(path);
  // Node reports that as a lack of permission.
  const why = existsSync(folder) ? error.message : `there is no folder ${folder}`;
  const option = { option: '--listen', value: address };
  return failure(
    'ERR_OPTION_INVALID',
    { ...option, expected: `one that the agent can listen on (${why})` },
    error,
  );
}

/** Opens the log of --audit, and the log on standard output. */
function openLogs({ audit, auditMaxBytes, auditKeep, quiet, logLevel }: Options): AuditLog[] {
  const about = { maxBytes: auditMaxBytes, keep: auditKeep };
  const failed = (error: Error) => {
    console.error(
      `waep-agent: the audit log (${audit}) cannot be written to: ${error.message}. What is lost from here on is counted, and the log says how much once it can be written to`,
    );
  };
  if (audit === '-') return [new AuditLog({ target: '-', ...about, failed })];
  return [
    ...(audit === undefined ? [] : [new AuditLog({ target: audit, ...about, failed })]),
    ...(quiet || audit !== undefined
      ? []
      : [new AuditLog({ target: '-', ...about, level: logLevel })]),
  ];
}

/** Reads the files again, and opens the logs again. If a file is wrong, nothing changes. */
async function reload(
  agent: Agent,
  logs: readonly AuditLog[],
  reloader: Reloader,
  manager: ServiceManager,
  { strictReload }: Options,
): Promise<void> {
  manager.reloading();
  for (const log of logs) log.reopen();
  try {
    const { terms, limits, keeper } = await reloader.reload();
    await agent.renew(terms, limits, keeper);
    if (strictReload) agent.endSessions();
    for (const log of logs) log.write('reloaded', { policy: terms.profile });
    console.error(`waep-agent: reloaded; sessions begin under the policy ${terms.profile}`);
    manager.ready(`accepting sessions under the policy ${terms.profile}`);
  } catch (error) {
    const why = (error as Error).message;
    for (const log of logs) log.write('not reloaded', { why }, 'error');
    console.error(`waep-agent: not reloaded: ${why} What was read before stays in force`);
    manager.ready('a reload has failed; what was read before is in force');
  }
}

/** Gives up the capabilities of this process, because the keeper starts executors now. */
function confine({ audit }: Options): void {
  for (const [what, result] of [
    ['capset', native.dropCapabilities()],
    ['seccomp', native.refuseSystemCalls()],
  ] as const) {
    if (result < 0) throw systemError(what, result);
  }
  if (audit === undefined || audit === '-' || audit === 'syslog') return;
  const folder = dirname(audit);
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch {
    throw failure('ERR_OPTION_INVALID', {
      option: '--audit',
      value: audit,
      expected: `a file in a folder that the agent's user may write to without CAP_DAC_OVERRIDE, which the agent gives up; ${folder} is none`,
    });
  }
}

/** Resolves when the last listener has failed. */
async function deserted(agent: Agent): Promise<void> {
  while (agent.listening > 0) await once(agent, 'failed');
}

main().catch((error: Error) => {
  console.error(`waep-agent: ${error.message}`);
  // The keeper, and addresses that are listened on already, would keep this process.
  process.exit(1);
});
