import { once } from 'node:events';
import { Command, Option } from 'commander';
import { failure } from '../../src/errors.js';
import { Agent } from './agent.js';
import { profiles } from './profiles.js';

interface Options {
  listen: string[];
  profile: string;
  allowCid: number[];
  insecureTcp: boolean;
  helloTimeoutMs: number;
  maxSessions: number;
  maxLeaseMs: number;
  silenceMs: number;
  quiet: boolean;
}

const collect = (value: string, all: string[]) => [...all, value];

const program = new Command('waep-agent')
  .description("Executes a host's bpf(2) calls in this machine's kernel, within a profile's rules.")
  .option('--listen <address>', 'where to accept sessions; may be given several times', collect, [])
  .addOption(
    new Option('--profile <name>', 'what sessions may do')
      .choices(Object.keys(profiles))
      .default('observe'),
  )
  .option(
    '--allow-cid <cid>',
    'a vsock peer that may connect (2 is the host); may be given several times',
    (value: string, all: number[]) => [...all, Number(value)],
    [],
  )
  .option('--insecure-tcp', 'accept sessions over TCP from anybody who can reach the port', false)
  .option('--hello-timeout-ms <n>', 'how long a client may take to introduce itself', Number, 5000)
  .option('--max-sessions <n>', 'how many sessions may be open at once', Number, 64)
  .option(
    '--max-lease-ms <n>',
    'how long a session may outlive the loss of its connection, if its client asks for that',
    Number,
    60_000,
  )
  .option(
    '--silence-ms <n>',
    'after how long a silence of the client a connection counts as lost; 0 for never',
    Number,
    60_000,
  )
  .option('--quiet', 'do not log sessions', false);

async function main(): Promise<void> {
  const options = program.parse().opts<Options>();
  const rules = profiles[options.profile];
  if (rules === undefined) throw new Error('commander has checked the profile');
  const listen = options.listen.length === 0 ? ['vsock:any:1024'] : options.listen;
  for (const address of listen) {
    if (address.startsWith('tcp:') && !options.insecureTcp) {
      throw failure('ERR_OPTION_INVALID', {
        option: '--listen',
        value: address,
        expected:
          'an address whose peers can be told apart; anybody may connect over TCP. Add --insecure-tcp if that is meant',
      });
    }
  }
  const agent = new Agent({
    rules,
    profile: options.profile,
    name: 'waep-agent/0.1.0',
    allowedCids: options.allowCid.length === 0 ? [1, 2] : options.allowCid,
    helloTimeoutMs: options.helloTimeoutMs,
    maxSessions: options.maxSessions,
    maxLeaseMs: options.maxLeaseMs,
    silenceMs: options.silenceMs,
  });
  if (!options.quiet) {
    const log = (event: string, facts: object) =>
      console.log(JSON.stringify({ time: new Date().toISOString(), event, ...facts }));
    agent.on('session', (facts) => log('session', facts));
    agent.on('detached', (facts) => log('detached', facts));
    agent.on('joined', (facts) => log('joined', facts));
    agent.on('ended', (facts) => log('ended', facts));
    agent.on('refused', ({ peer, error }) => log('refused', { peer, why: error.message }));
  }
  agent.on('failed', ({ address, error }) => {
    console.error(`waep-agent: not listening on ${address} any more: ${error.message}`);
  });
  for (const address of listen) {
    await agent.listen(address);
    console.log(`waep-agent: listening on ${address}`);
  }
  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT'), deserted(agent)]);
  if (agent.listening === 0) {
    console.error('waep-agent: ending, since no address is left to listen on');
    process.exitCode = 1;
  }
  await agent.close();
}

/** Resolves when the last listener has failed. */
async function deserted(agent: Agent): Promise<void> {
  while (agent.listening > 0) await once(agent, 'failed');
}

main().catch((error: Error) => {
  console.error(`waep-agent: ${error.message}`);
  process.exitCode = 1;
});
