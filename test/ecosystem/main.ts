/*
 * Runs clients and servers of the ecosystem on every transport:
 *
 *   node dist/test/ecosystem/main.js [--transport unix] [--only pg] [--record]
 *
 * The transport `vsock, nested` is run only when it is named: its inner guest is emulated by an emulated
 * machine, where the servers alone take minutes to start. With --record what was seen is kept in
 * results/ecosystem.json, transport by transport, and results/ecosystem.md is written from all that is kept.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { packageFolder } from '../../src/paths.js';
import type { ProgramReport } from './ecosystem-run.js';
import { startPostgres, startSshd } from './hosts.js';
import {
  bootServers,
  type Errand,
  ecosystemFiles,
  fromHost,
  inGuest,
  intoNested,
  overStandIn,
  overTcp,
  overUnix,
} from './places.js';
import { programs } from './programs.js';

/** The transports, as the table has them. */
const transports = {
  unix: 'Unix sockets, two processes',
  tcp: 'TCP on loopback, two processes',
  'vsock, in a guest': "the kernel's AF_VSOCK by loopback, two processes of a guest",
  'vsock, nested':
    'a guest to the guest in it, AF_VSOCK of both kernels and vhost_vsock between them; run only when named, because the inner machine is emulated by an emulated one: about ten minutes until the servers listen, half a minute and more for each program. Not run: pg and ssh, whose servers the inner guest cannot reach; the others that have no outcome, for that time',
  'vsock-device': "host to guest by the process's own vsock device",
  'vsock-mux': 'host to guest by vhost-device-vsock',
  'vsock-mux, stand-in': 'a multiplexer of the test with the manners of Firecracker',
} as const;
type TransportName = keyof typeof transports;

/** What does not run in the inner guest: its servers are on this machine, which that cannot reach. */
const notNested = ['pg', 'ssh'];

const { values } = parseArgs({
  options: {
    transport: { type: 'string', multiple: true },
    only: { type: 'string', multiple: true },
    record: { type: 'boolean' },
  },
});
const NESTED = 'vsock, nested' satisfies TransportName;
const wanted = (transport: TransportName): boolean =>
  values.transport?.includes(transport) ?? transport !== NESTED;
const outcomes = new Map<TransportName, Map<string, ProgramReport>>();
const folder = mkdtempSync(join(tmpdir(), 'waep-eco-'));

function reportTo(transport: TransportName): (report: ProgramReport) => void {
  const rows = new Map<string, ProgramReport>();
  outcomes.set(transport, rows);
  return (report) => {
    rows.set(report.program, report);
    const why = report.ok ? '' : `\n  ${report.why}`;
    console.log(
      `${report.ok ? '✔' : '✘'} ${transport}: ${report.program} (${report.durationMs} ms)${why}`,
    );
  };
}

function versionOf(name: string): string {
  const { resolve } = createRequire(import.meta.url);
  for (const folder of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    try {
      return JSON.parse(readFileSync(join(folder, name, 'package.json'), 'utf8')).version;
    } catch {}
  }
  return resolve(name);
}

/** What is kept of a transport. */
interface KeptTransport {
  node: string;
  date: string;
  programs: ProgramReport[];
}

const keptPath = join(packageFolder, 'results/ecosystem.json');

/** Puts what was seen now in the place of what was kept of the same transports. */
function keep(): Partial<Record<TransportName, KeptTransport>> {
  const kept: Partial<Record<TransportName, KeptTransport>> = existsSync(keptPath)
    ? JSON.parse(readFileSync(keptPath, 'utf8'))
    : {};
  const date = new Date().toISOString().slice(0, 10);
  for (const [transport, rows] of outcomes) {
    if (rows.size === 0) continue;
    const others = kept[transport]?.programs.filter(({ program }) => !rows.has(program)) ?? [];
    kept[transport] = { node: process.version, date, programs: [...others, ...rows.values()] };
  }
  writeFileSync(keptPath, `${JSON.stringify(kept, undefined, 1)}\n`);
  return kept;
}

function table(kept: Partial<Record<TransportName, KeptTransport>>): string {
  const columns = Object.keys(transports) as TransportName[];
  const cell = (transport: TransportName, program: string): string => {
    const report = kept[transport]?.programs.find((one) => one.program === program);
    if (report === undefined) return 'not run';
    return report.ok ? 'ok' : `fails: ${report.why?.split('\n')[0]}`;
  };
  const rows = programs.map(
    ({ name }) => `| ${name} | ${columns.map((transport) => cell(transport, name)).join(' | ')} |`,
  );
  const packages = ['ws', '@grpc/grpc-js', 'undici', 'pg', 'fastify'];
  return `# The ecosystem over every transport

\`npm run test:ecosystem -- --record\` wrote this file. Each client talks to its server over the transport of the column: a megabyte or more of content there and back, checked byte by byte, and several connections at once. The clients use \`createConnection()\`, \`agent()\`, \`dispatcher()\` and \`webSocketOptions()\` of \`waep/transport\`.

Packages: ${packages.map((name) => `${name} ${versionOf(name)}`).join(', ')}.

| | ${columns.join(' | ')} |
|---|${columns.map(() => '---|').join('')}
${rows.join('\n')}

The transports:

${Object.entries(transports)
  .map(([transport, meaning]) => {
    const { date, node } = kept[transport as TransportName] ?? {};
    return `* ${transport}: ${meaning} (${date === undefined ? 'not run' : `${date}, Node ${node}`})`;
  })
  .join('\n')}

The programs:

${programs
  .filter(({ note }) => note !== undefined)
  .map(({ name, note }) => `* ${name}: ${note}`)
  .join('\n')}
`;
}

async function attempt(what: string, run: () => Promise<void>): Promise<void> {
  await run().catch((error: Error) => {
    console.error(`✘ ${what}: ${error.stack}`);
    process.exitCode = 1;
  });
}

try {
  await using postgres = await startPostgres(folder);
  await using sshd = await startSshd(folder);
  const errandOf = (transport: TransportName): Errand => ({
    report: reportTo(transport),
    only: values.only ?? [],
    postgres: postgres.address,
    sshd,
  });
  if (wanted('unix')) await attempt('unix', () => overUnix(errandOf('unix')));
  if (wanted('tcp')) await attempt('tcp', () => overTcp(errandOf('tcp')));
  const standIn = 'vsock-mux, stand-in';
  if (wanted(standIn)) await attempt(standIn, () => overStandIn(errandOf(standIn)));
  const files = await ecosystemFiles(folder, sshd);
  if (wanted('vsock-device') || wanted('vsock, in a guest')) {
    await attempt('vsock-device', async () => {
      const guest = await bootServers(errandOf('vsock-device'), { files, vsock: 'device' });
      try {
        if (wanted('vsock-device')) await fromHost(guest, errandOf('vsock-device'));
        if (wanted('vsock, in a guest')) await inGuest(guest, errandOf('vsock, in a guest'));
      } finally {
        await guest.stop();
      }
    });
  }
  if (wanted(NESTED)) {
    await attempt(NESTED, () => {
      const only =
        values.only ?? programs.map(({ name }) => name).filter((name) => !notNested.includes(name));
      return intoNested(folder, { report: reportTo(NESTED), only });
    });
  }
  if (wanted('vsock-mux')) {
    await attempt('vsock-mux', async () => {
      const errand = errandOf('vsock-mux');
      const guest = await bootServers(errand, { files, vsock: 'mux' });
      try {
        await fromHost(guest, errand);
      } finally {
        await guest.stop();
      }
    });
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if ([...outcomes.values()].some((rows) => [...rows.values()].some(({ ok }) => !ok))) {
  process.exitCode = 1;
}
if (values.record) {
  writeFileSync(join(packageFolder, 'results/ecosystem.md'), table(keep()));
}
// A device of this process may still hold listeners.
process.exit();
