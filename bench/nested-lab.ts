/* A guest whose host is a guest, too: the kernel's vsock at both ends. */
import { AGENT_PORT, type Progress } from '../guest/index.js';
import { failure } from '../src/errors.js';
import { guestClientFiles, startGuestClient } from './client/guest-client.js';
import { compilePrograms } from './compile.js';
import { Disposables } from './disposables.js';
import { type GuestChoice, runner, spawnerIn, startPingpong } from './guest-lab.js';
import {
  guestPrograms,
  type Lab,
  type LabTransport,
  openHostLab,
  PINGPONG_PORT,
  programFiles,
  type Spawn,
} from './lab.js';
import { bulkCommand, limitCommand, limitSamples } from './limit.js';
import { bootNested, INNER_ADDRESS, INNER_CID, prepareNested } from './nested-guests.js';
import type { Run } from './vsock-transports.js';

/** Fetches and builds, once, everything that both guests need. */
export async function prepareNestedLab({ kernel }: GuestChoice, progress: Progress): Promise<void> {
  await compilePrograms();
  await prepareNested({ kernel, progress });
}

/** The addresses of the inner guest, in the outer one only. */
const transports = {
  tcp: (port: number) => `tcp:${INNER_ADDRESS}:${port}`,
  'vsock-kernel': (port: number) => `vsock:${INNER_CID}:${port}`,
} as const;

/** Boots both guests, and starts the clients in the outer one and the servers in the inner one. */
export async function openNestedLab(choice: GuestChoice): Promise<Lab> {
  const programs = await compilePrograms();
  await using resources = new Disposables();
  const host = resources.use(openHostLab(programs));
  const files = { ...programFiles(programs), ...(await guestClientFiles()) };
  const nested = resources.use(await bootNested(files, choice));
  await nested.up();
  const spawnInner: Spawn = (command) => nested.spawnInner(command);
  for (const listen of [`tcp:0.0.0.0:${PINGPONG_PORT}`, `vsock:any:${PINGPONG_PORT}`]) {
    await startPingpong(spawnInner, guestPrograms.pingpong, listen);
  }
  const client = resources.use(await startGuestClient(spawnerIn(nested.outer)));
  const runOuter = runner(nested.outer);
  const run = runnerBy(spawnInner);
  const owned = resources.move();
  return {
    folder: host.folder,
    programs,
    guest: {
      environment: nested.environment,
      transports: Object.entries(transports).map(([name, address]) =>
        transportTo(name, address, runOuter, run),
      ),
      client,
      absent: [],
      programs: guestPrograms,
      run,
      spawn: spawnInner,
      write: async (path, content) => {
        const text = Buffer.from(content).toString('base64');
        await run(['/bin/sh', '-c', `echo ${text} | base64 -d > ${path}`]);
      },
      pin: async (cpu) => {
        if (cpu !== undefined) throw new TypeError('a nested guest cannot be kept on one CPU');
      },
    },
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}

/** @param runOuter runs the plain C client */
function transportTo(
  name: string,
  address: (port: number) => string,
  runOuter: Run,
  run: Run,
): LabTransport {
  const pingpong = address(PINGPONG_PORT);
  return {
    name,
    agent: address(AGENT_PORT),
    pingpong,
    run,
    use: async () => {},
    limit: async (exchange, amount) =>
      limitSamples(
        await runOuter(limitCommand(guestPrograms.pingpong, pingpong, exchange, amount)),
      ),
    bulk: async (exchange, messages) => {
      const command = bulkCommand(guestPrograms.pingpong, pingpong, exchange, messages);
      return limitSamples(await runOuter(command))[0] ?? 0;
    },
  };
}

function runnerBy(spawn: Spawn): Run {
  return async (command) => {
    const child = await spawn(command);
    const texts = [child.stdout, child.stderr].map((stream) =>
      stream.setEncoding('utf8').toArray(),
    );
    const [[output = [], complaints = []], ending] = await Promise.all([
      Promise.all(texts),
      child.ended,
    ]);
    if (ending.status === 0) return output.join('');
    throw failure('ERR_GUEST_COMMAND', {
      command: command.join(' '),
      status: ending.status ?? `signal ${ending.signal}`,
      output: complaints.join(''),
    });
  };
}
