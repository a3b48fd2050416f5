import { once } from 'node:events';
import { accessSync, constants, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Command, Option } from 'commander';
import { failure, systemError } from '../../src/errors.js';
import { native } from '../../src/native.js';
// Not the folder's index: without a policy file its parser is not even loaded.
import { compile } from '../../src/policy/compile.js';
import type { Policy } from '../../src/policy/index.js';
import { profileNamed, profiles } from '../../src/policy/profiles.js';
import { readTlsFiles, type TlsFileOptions } from '../../src/tls-role.js';
import { wholeNumber } from '../../src/whole-number.js';
import { Agent } from './agent.js';
import { AuditLog } from './audit.js';
import { provideFileSystems, remarksOn } from './file-systems.js';
import { kernelInfo } from './kernel-info.js';
import { kernelNames } from './kernel-names.js';

interface Options extends TlsFileOptions {
  listen: string[];
  profile: string;
  policy?: string;
  anySourcePort: boolean;
  tlsOn: 'all' | 'tcp';
  insecureTcp: boolean;
  helloTimeoutMs: number;
  maxSessions: number;
  maxLeaseMs?: number;
  silenceMs: number;
  eventNice: number;
  audit?: string;
  auditMaxBytes: number;
  quiet: boolean;
}

// As auditd's own default for the same work (priority_boost).
const DEFAULT_EVENT_NICE = -4;

/** The longest that a timer can be set to. */
const MAX_MS = 2 ** 31 - 1;

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
  .addOption(
    new Option('--tls-on <transport>', 'where clients need a certificate')
      .choices(['all', 'tcp'])
      .default('all'),
  )
  .option('--insecure-tcp', 'accept sessions over TCP from anybody who can reach the port', false)
  .option(
    '--hello-timeout-ms <n>',
    'how long a client may take until its first message',
    wholeNumber(1, MAX_MS),
    5000,
  )
  .option('--max-sessions <n>', 'how many sessions may be open at once', wholeNumber(1, 65_535), 64)
  .option(
    '--max-lease-ms <n>',
    'the longest lease: how long a session may outlive its connection, if its client asks for a lease; 0 for none',
    wholeNumber(0, MAX_MS),
  )
  .option(
    '--silence-ms <n>',
    'a connection counts as lost when its client was silent for so long; 0 for never',
    wholeNumber(0, MAX_MS),
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
    'write the log to this file, with what sessions load, attach and pin; - is standard output, which has sessions and refusals in any case',
  )
  .option(
    '--audit-max-bytes <n>',
    'when the log has this size, rename it to FILE.1 and begin a new one',
    wholeNumber(4096),
    16 * 1024 * 1024,
  )
  .option('--quiet', 'log nothing', false);

async function readPolicy({ policy, profile }: Options): Promise<Policy> {
  if (policy === undefined) return profileNamed(profile);
  const { parsePolicy } = await import('../../src/policy/file.js');
  return parsePolicy(readFileSync(policy, 'utf8'), policy);
}

async function main(): Promise<void> {
  const options = program.parse().opts<Options>();
  const policy = await readPolicy(options);
  const tls = readTlsFiles(options, 'agent');
  const listen = options.listen.length === 0 ? ['vsock:any:1024'] : options.listen;
  for (const address of listen) {
    if (address.startsWith('tcp:') && !options.insecureTcp && tls === undefined) {
      throw failure('ERR_OPTION_INVALID', {
        option: '--listen',
        value: address,
        expected:
          'an address whose peers can be told apart; anybody may connect over TCP. Give --keys, or --insecure-tcp if that is meant',
      });
    }
  }
  // Before anything of the kernel's is read, and before there is an executor.
  const provisions = provideFileSystems();
  for (const remark of remarksOn(provisions, kernelInfo().btf)) {
    console.error(`waep-agent: ${remark}`);
  }
  const rules = compile(policy, kernelNames());
  const agent = new Agent({
    // Telling of each call takes time beside it, so somebody has to want it.
    rules: options.audit === undefined ? { ...rules, reports: [] } : rules,
    profile: policy.name,
    // The bundler puts the package's version here.
    name: `waep-agent/${process.env.WAEP_VERSION}`,
    accept: options.anySourcePort ? { ...policy.accept, source_ports: 'any' } : policy.accept,
    tls: tls === undefined ? undefined : { ...tls, on: options.tlsOn },
    helloTimeoutMs: options.helloTimeoutMs,
    maxSessions: options.maxSessions,
    maxLeaseMs: options.maxLeaseMs ?? policy.leases.max_seconds * 1000,
    silenceMs: options.silenceMs,
    eventNice: options.eventNice,
    keepsSpare: true,
  });
  if (!options.quiet) {
    new AuditLog({ target: options.audit ?? '-', maxBytes: options.auditMaxBytes }).follow(agent);
  }
  agent.on('failed', ({ address, error }) => {
    console.error(`waep-agent: not listening on ${address} any more: ${error.message}`);
  });
  for (const address of listen) {
    await agent.listen(address);
    console.log(`waep-agent: listening on ${address}`);
  }
  confine(options);
  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT'), deserted(agent)]);
  if (agent.listening === 0) {
    console.error('waep-agent: ending, since no address is left to listen on');
    process.exitCode = 1;
  }
  await agent.close();
}

/** Gives up what the rest of this process' life does not take, now that executors come from another. */
function confine({ audit }: Options): void {
  for (const [what, result] of [
    ['capset', native.dropCapabilities()],
    ['seccomp', native.refuseSystemCalls()],
  ] as const) {
    if (result < 0) throw systemError(what, result);
  }
  if (audit === undefined || audit === '-') return;
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
  process.exitCode = 1;
});
