import { Command, Option } from 'commander';
import pc from 'picocolors';
import { failure, type WaepError } from '../src/errors.js';
import { duration } from '../src/quantity.js';
import { wholeNumber } from '../src/whole-number.js';
import { type ConnectionOptions, openSession, tlsOptions } from './connection.js';

interface Options extends Omit<ConnectionOptions, 'vm'> {
  count: number;
  timeout: number;
  json?: true;
}

/** `waep ping`: reports whether an agent answers, for people and for monitoring. */
export function pingCommand(): Command {
  return tlsOptions(new Command('ping'))
    .summary('ask whether an agent answers')
    .description(
      "Open a session with an agent, ask it for the time, and say how long the answer took, with the agent's version, its kernel, its policy and its sessions. The exit status is 0 if it answers and 1 if it does not.",
    )
    .argument('<address>', 'the address of the agent, such as vsock:3:1024 or tcp:127.0.0.1:1024')
    .option('--count <n>', 'how many answers to wait for', wholeNumber(1, 1_000_000), 4)
    .addOption(
      new Option('--timeout <duration>', 'how long everything may take')
        .argParser(duration(1))
        .default(5000, '5s'),
    )
    .option(
      '--json',
      'print {ok, address, agent, kernel, profile, sessions, maxSessions, roundTripMs: {min, median, max}}, or {ok, address, error: {code, message}}',
    )
    .action(ping);
}

async function ping(vm: string, { count, timeout, json, ...tls }: Options): Promise<void> {
  try {
    const found = await within(timeout, vm, look(vm, count, timeout, tls));
    const { agent, kernel, profile, sessions, maxSessions, roundTripMs } = found;
    if (json) console.log(JSON.stringify({ ok: true, address: vm, ...found }));
    else {
      const most = maxSessions === undefined ? '' : `, ${sessions} of ${maxSessions} sessions open`;
      console.log(`${vm}: ${agent}, Linux ${kernel}, policy ${profile}${most}`);
      const { min, median, max } = roundTripMs;
      const times = [min, median, max].map((ms) => ms.toFixed(3)).join(' / ');
      console.log(`round trip of ${count} requests: ${times} ms (min / median / max)`);
    }
  } catch (cause) {
    const { code = 'ERR_AGENT', message } = cause as WaepError;
    if (json) console.log(JSON.stringify({ ok: false, address: vm, error: { code, message } }));
    else console.error(pc.red(`waep: ${message}`));
    process.exitCode = 1;
  }
}

async function look(
  vm: string,
  count: number,
  timeoutMs: number,
  tls: Omit<ConnectionOptions, 'vm'>,
) {
  const options = { vm, ...tls, connectTimeout: timeoutMs };
  const more = { client: 'waep ping', callTimeoutMs: timeoutMs };
  await using session = await openSession(options, more);
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const startMs = performance.now();
    await session.readClock(1);
    times.push(performance.now() - startMs);
  }
  times.sort((a, b) => a - b);
  const at = (index: number) => times[index] ?? Number.NaN;
  return {
    agent: session.agent,
    kernel: session.kernel.release,
    profile: session.profile,
    sessions: session.agentSessions?.open,
    maxSessions: session.agentSessions?.most,
    roundTripMs: { min: at(0), median: at(Math.floor(count / 2)), max: at(count - 1) },
  };
}

async function within<T>(timeoutMs: number, address: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(failure('ERR_CALL_TIMEOUT', { call: 'ping', address, timeoutMs }));
    }, timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
