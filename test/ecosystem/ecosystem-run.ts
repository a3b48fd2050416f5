/*
 * Clients and servers of the ecosystem, each in a process of its own, which can be bundled into one
 * file and run in a guest:
 *
 *   node ecosystem-run.mjs --serve vsock:any:% --pg vsock:host:5432 --ssh vsock:host:22
 *   node ecosystem-run.mjs --use vsock:local:% --only http --only ws
 *   node ecosystem-run.mjs --carry vsock:local:7110      connects standard input and output
 *
 * A % in an address stands for the port of a program, and %9000 for those from 9000 on. --serve prints a line of JSON when everything
 * listens, --use one for each program, and exits with 1 if one failed. What a client must know of
 * the servers, a certificate, is served on the port before the first.
 */
import { once } from 'node:events';
import http from 'node:http';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { inspect, parseArgs } from 'node:util';
import { createConnection, createServer, type Server } from '../../src/transport/index.js';
import { makeIdentity } from '../transport/certificate.js';
import { TLS_NAME } from '../transport/peer.js';
import { type ClientContext, programs, type ServerContext } from './programs.js';

const FIRST_PORT = '7300';
const DEADLINE_MS = 120_000;

/** How one program went. */
export interface ProgramReport {
  readonly program: string;
  readonly ok: boolean;
  readonly durationMs: number;
  readonly why?: string;
}

/** `%7300` stands for the ports from 7300 on, and `%` alone, too. */
function at(template: string, index: number): string {
  return template.replace(/%(\d*)/, (_, first) => String(Number(first || FIRST_PORT) + index));
}

/** Serves every program, each at its own port, and resolves when all listen. */
async function serveAll(
  template: string,
  upstream: ServerContext['upstream'] = {},
): Promise<AsyncDisposable> {
  const identity = makeIdentity(TLS_NAME);
  const certificate = http.createServer((_request, response) => response.end(identity.cert));
  const servers: Server[] = [createServer().forward(certificate)];
  for (const program of programs) servers.push(await program.serve({ identity, upstream }));
  const listening = servers.map(async (server, index) => {
    server.on('connection', (socket) => socket.on('error', () => socket.destroy()));
    server.listen(at(template, index));
    await once(server, 'listening');
  });
  await Promise.all(listening);
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    },
  };
}

/** Uses the programs one after the other and reports each. */
export async function useAll(
  template: string,
  report: (report: ProgramReport) => void,
  { only = [], ...how }: Omit<ClientContext, 'certificate'> & { only?: readonly string[] } = {},
): Promise<void> {
  const asked = http.get({
    host: TLS_NAME,
    createConnection: () => createConnection(at(template, 0)),
  });
  const [response] = (await once(asked, 'response')) as [http.IncomingMessage];
  const context = { certificate: await text(response), ...how };
  for (const [index, program] of programs.entries()) {
    if (only.length > 0 && !only.includes(program.name)) continue;
    const started = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<never>((_, reject) => {
      const late = (): void => reject(new Error(`not done after ${DEADLINE_MS} ms`));
      timer = setTimeout(late, DEADLINE_MS);
    });
    const outcome = await Promise.race([program.use(at(template, index + 1), context), deadline])
      .then(() => ({ ok: true }))
      // undici says why a fetch failed in the cause of its error.
      .catch((error: Error) => ({ ok: false, why: inspect(error) }));
    clearTimeout(timer);
    const durationMs = Math.round(performance.now() - started);
    report({ program: program.name, durationMs, ...outcome });
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      serve: { type: 'string' },
      use: { type: 'string' },
      carry: { type: 'string' },
      only: { type: 'string', multiple: true },
      pg: { type: 'string' },
      ssh: { type: 'string' },
      'ssh-argument': { type: 'string', multiple: true },
      'proxy-command': { type: 'string' },
    },
  });
  const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);
  if (values.carry !== undefined) {
    const socket = createConnection(values.carry);
    process.stdin.pipe(socket).pipe(process.stdout);
    socket.on('close', () => process.exit());
  } else if (values.serve !== undefined) {
    const { pg, ssh } = values;
    await serveAll(values.serve, {
      ...(pg === undefined ? {} : { pg }),
      ...(ssh === undefined ? {} : { ssh }),
    });
    say({ listening: values.serve });
  } else if (values.use !== undefined) {
    let passed = true;
    const report = (one: ProgramReport): void => {
      passed &&= one.ok;
      say(one);
    };
    const { only = [] } = values;
    const ssh = values['ssh-argument'];
    await useAll(values.use, report, { only, ssh, proxyCommand: values['proxy-command'] });
    // What a failed program left must not keep the others' reports waiting.
    process.exit(passed ? 0 : 1);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
