/* `npm run soak`: hours of work in minutes, and what the processes hold meanwhile. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { hostEnvironment, sourceEnvironment } from '../../bench/environment.js';
import { bundleForGuest } from '../../bench/guest-bundle.js';
import { boot, type Guest } from '../../guest/index.js';
import { packageFolder } from '../../src/paths.js';
import { EventStream } from '../../src/session/index.js';
import { Session } from '../../src/session.js';
import { VsockSocket } from '../../src/transport/index.js';
import { alive } from '../lifetimes/alive.js';
import { application, cli } from '../run/application.js';
import { soakChart } from './chart.js';
import { type Counts, connections, events, type Place, sessions, tools } from './loads.js';
import {
  GIVES_BACK,
  neededBytes,
  readGuest,
  readHere,
  readProcess,
  reportingGuest,
} from './readings.js';
import type { Sample } from './samples.js';

const SAMPLE_MS = 20_000;
/** When processes count as settled. */
const SETTLED_SECONDS = 300;
/** How many samples at the beginning and at the end are compared, by their medians. */
const COMPARED = 5;
/** By how much what is needed may grow from there to the end. */
const MAX_GROWTH = 0.05;
/** The same of processes that are not Node, which are small: a few pages. */
const MAX_NATIVE_GROWTH_KIB = 32;
const FULL_MINUTES = 30;
const waep = join(packageFolder, 'bin/waep');

function minutesOf(text: string): number {
  const minutes = Number(text);
  if (minutes > 0) return minutes;
  throw new InvalidArgumentError('Expected a number of minutes.');
}

/** A `waep standby` that tells what it holds. */
async function standBy(address: string, collector: string, file: string) {
  const child = spawn(process.execPath, ['--require', collector, cli, 'standby', '--vm', address], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, GLIBC_TUNABLES: GIVES_BACK, WAEP_MEMORY_FILE: file },
  });
  await once(child.stdout, 'data');
  return child;
}

/** Programs and maps that are in the guest's kernel, beyond those of the session that looks. */
async function left(guest: Guest): Promise<{ programs: number; maps: number }> {
  await using session = await Session.connect(guest.vsock(), { handshakeTimeoutMs: 60_000 });
  const count = async (all: AsyncIterable<unknown>) => {
    let found = 0;
    for await (const _ of all) found++;
    return found;
  };
  return { programs: await count(session.programs()), maps: await count(session.maps()) };
}

async function soak(minutes: number, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const scratch = mkdtempSync(join(tmpdir(), 'waep-soak-'));
  const program = application();
  const collector = await bundleForGuest(
    new URL('./collector.js', import.meta.url),
    scratch,
    'collector.cjs',
  );
  const startedAt = new Date().toISOString();
  const loadBefore = loadavg();
  await using guest = await boot({
    exec: true,
    network: 'user',
    vsock: 'device',
    agent: { tcp: 'anybody', profile: 'full', args: ['--hello-timeout-ms', '60000'] },
    notice: () => {},
    ...reportingGuest(collector),
  });
  const before = await left(guest);
  const vsock = guest.vsock();
  const memoryFile = join(scratch, 'standby.json');
  const standby = await standBy(vsock, collector, memoryFile);
  const counts: Counts = {
    recordsEmitted: 0,
    recordsDelivered: 0,
    sessions: 0,
    connections: 0,
    tools: 0,
    failures: 0,
  };
  const failures: string[] = [];
  const began = performance.now();
  const place: Place = {
    addresses: [vsock, guest.tcp()],
    untilMs: began + minutes * 60_000,
    counts,
    failed(what, error) {
      counts.failures++;
      if (failures.length < 20) failures.push(`${what}: ${error}`);
      console.error(`${what}: ${error}`);
    },
  };
  const commands = [
    [waep, 'run', '--vm', vsock, '--', 'bpftool', 'prog', 'show'],
    [waep, 'run', '--vm', vsock, '--', program.path, 'ring', 'perf', 'mapped'],
    [waep, 'run', '--vm', vsock, '--', program.path, 'copies', 'passed'],
    [waep, 'run', '--vm', vsock, '--', 'bpftool', 'map', 'show'],
  ];
  const samples: Sample[] = [];
  const file = join(folder, 'samples.jsonl');
  // Git may put back the file of an earlier run, as a checkout does, but not this one.
  const part = `${file}.part`;
  rmSync(part, { force: true });
  const look = async () => {
    const sample: Sample = {
      seconds: Math.round((performance.now() - began) / 1000),
      counts: { ...counts },
      ...(await readGuest(guest)),
      standby: await readProcess(standby.pid as number, memoryFile),
      alive: {
        Session: alive(Session),
        EventStream: alive(EventStream),
        VsockSocket: alive(VsockSocket),
      },
      host: await readHere(),
    };
    samples.push(sample);
    appendFileSync(part, `${JSON.stringify(sample)}\n`);
    const mib = (who: 'host' | 'standby' | 'agent') =>
      `${who} ${(neededBytes(sample[who]) / 2 ** 20).toFixed(1)}`;
    console.log(
      `${sample.seconds} s: ${mib('host')}, ${mib('standby')}, ${mib('agent')} MiB; ${JSON.stringify(sample.counts)} ${JSON.stringify(sample.alive)}`,
    );
  };
  const watch = async () => {
    while (performance.now() < place.untilMs) {
      await look().catch((error) => place.failed('looking', error));
      await sleep(SAMPLE_MS);
    }
  };
  const env = { WAEP_CACHE_DIR: join(scratch, 'cache') };
  try {
    await Promise.all([
      events(place).catch((error) => place.failed('events', error)),
      sessions(place),
      connections(place),
      tools(place, commands, env),
      watch(),
    ]);
    await look();
  } finally {
    standby.kill('SIGINT');
  }
  await once(standby, 'exit');
  await sleep(1000);
  const after = await left(guest);
  const { info } = guest;
  const growth = growths(samples);
  const nativeGrowthKib = {
    keeper: growthOf(samples, ({ guest }) => guest.keeperKib).grown,
    executorOfTheEvents: growthOf(samples, ({ guest }) => guest.oldestExecutorKib).grown,
  };
  const environment = {
    command: `npm run soak -- --minutes ${minutes}`,
    startedAt,
    finishedAt: new Date().toISOString(),
    source: sourceEnvironment(),
    host: hostEnvironment(),
    // Of one, five and fifteen minutes; what is more than the number of processors waited for one.
    loadAverages: { before: loadBefore, after: loadavg() },
    guest: info,
    loads:
      'a stream of up to 200 records a second; sessions, connections and tools one after the other; vsock by the device in the process and tcp by turns',
    memory:
      'Each process collects all garbage, then tells what it holds. Needed is what is resident without the free room of the JavaScript heap.',
    objectsLeft: { before, after },
    growth,
    nativeGrowthKib,
    failures,
  };
  renameSync(part, file);
  writeFileSync(join(folder, 'environment.json'), `${JSON.stringify(environment, null, 2)}\n`);
  const loads = [loadBefore, loadavg()].map(([, five = Number.NaN]) => five.toFixed(1));
  const lines = [
    `Guest: Linux ${info.kernel}, ${info.cpus} vCPU, ${info.memoryMib} MiB, ${info.accel}, QEMU ${info.qemu} ${info.machine}`,
    `Host: ${environment.host.cpus} × ${environment.host.cpuModel}, Node ${environment.host.node} · commit ${environment.source.commit} · ${environment.command} · load ${loads.join(' to ')}`,
  ];
  writeFileSync(join(folder, 'memory.svg'), soakChart(samples, lines));
  rmSync(scratch, { recursive: true, force: true });
  program.dispose();
  console.log(JSON.stringify({ growth, nativeGrowthKib, before, after, failures }, null, 2));
  const grown =
    Object.values(growth).some(({ share }) => !(share <= MAX_GROWTH)) ||
    Object.values(nativeGrowthKib).some((kib) => !(kib <= MAX_NATIVE_GROWTH_KIB));
  const stays = after.programs > before.programs || after.maps > before.maps;
  if (grown || stays || counts.failures > 0) process.exitCode = 1;
}

interface Growth {
  readonly fromMib: number;
  readonly toMib: number;
  /** Of what was needed at first; NaN when the soak was too short to tell. */
  readonly share: number;
}

/** By how much each process of Node needs more than when it had settled. */
function growths(samples: readonly Sample[]): Record<string, Growth> {
  return Object.fromEntries(
    (['host', 'standby', 'agent'] as const).map((who) => {
      const { from, to } = growthOf(samples, (sample) => neededBytes(sample[who]) / 2 ** 20);
      return [who, { fromMib: from, toMib: to, share: to / from - 1 }];
    }),
  );
}

/** The medians of the first and the last samples after settling. */
function growthOf(samples: readonly Sample[], value: (sample: Sample) => number) {
  const settled = samples.filter(({ seconds }) => seconds >= SETTLED_SECONDS).map(value);
  const from = median(settled.slice(0, COMPARED));
  const to = median(settled.slice(-COMPARED));
  return { from, to, grown: to - from };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

new Command('npm run soak --')
  .description(
    'Streams events, opens sessions and connections and runs tools at once, and draws what the host, the standby and the agent hold over time.',
  )
  .option('--minutes <n>', 'how long', minutesOf, FULL_MINUTES)
  .option('--out <folder>', 'where to leave samples, environment and chart')
  .action(async ({ minutes, out }: { minutes: number; out?: string }) => {
    // The C library reads its settings when a process starts, and this process is measured, too.
    if (process.env.GLIBC_TUNABLES !== GIVES_BACK) {
      const env = { ...process.env, GLIBC_TUNABLES: GIVES_BACK };
      const again = spawn(process.execPath, process.argv.slice(1), { env, stdio: 'inherit' });
      const [status] = await once(again, 'exit');
      process.exit(status ?? 1);
    }
    const usual = join(packageFolder, 'results', minutes < FULL_MINUTES ? '.quick' : '', 'soak');
    await soak(minutes, out ?? usual);
    // The guest's device, and whatever else there is, has been asked to end.
    process.exit();
  })
  .parseAsync()
  .catch((error: Error) => {
    console.error(error.stack ?? error.message);
    process.exit(1);
  });
