import { availableParallelism } from 'node:os';
import {
  AGENT_PORT,
  type BootOptions,
  boot,
  buildImage,
  findMultiplexer,
  type Guest,
  type GuestFile,
  type GuestProcess,
  type Image,
  type KernelChoice,
  multiplexerProblem,
  type Progress,
} from '../guest/index.js';
import { runTool } from '../guest/tools.js';
import { failure } from '../src/errors.js';
import { Client } from './client/client.js';
import { compilePrograms, type Programs } from './compile.js';
import { Disposables } from './disposables.js';
import { guestEnvironment } from './environment.js';
import {
  guestPrograms,
  type Lab,
  type LabTransport,
  type Meter,
  openHostLab,
  PINGPONG_PORT,
  programFiles,
  type Spawn,
} from './lab.js';
import { bulkCommand, limitCommand, limitSamples } from './limit.js';
import { run as runHere } from './process.js';
import { threadSwitches, threadTimes, useBetween } from './thread-use.js';
import {
  DriverSwitch,
  openVsockTransports,
  type Run,
  type VsockTransport,
} from './vsock-transports.js';

/** The guest to boot, and its machine. */
export interface GuestChoice
  extends Pick<BootOptions, 'accel' | 'machine' | 'cpu' | 'kernelArgs' | 'deadlineMs'> {
  kernel?: KernelChoice;
  /** Receives messages for people, such as why KVM is not used. */
  notice: (line: string) => void;
}

/** The most sessions that an experiment has open, and those that are about to end. */
const maxSessions = 256;

/** Fetches and builds, once, everything that a guest needs and that takes long. */
export async function prepareGuest(choice: GuestChoice, progress: Progress): Promise<Image> {
  await compilePrograms();
  const image = await buildImage({ kernel: choice.kernel, progress });
  await findMultiplexer(progress);
  return image;
}

/** Additions to a guest for one experiment. */
export interface GuestExtras {
  /** Files, by path. */
  files?: Readonly<Record<string, GuestFile>> | undefined;
  /** The agent's profile. */
  profile?: string | undefined;
}

/**
 * Boots a guest and starts the plain C ping-pong servers in it.
 *
 * @param extras the additions that the experiment asks for
 */
export async function openGuestLab(
  choice: GuestChoice,
  image: Image,
  { files, profile }: GuestExtras = {},
): Promise<Lab> {
  const programs = await compilePrograms();
  await using resources = new Disposables();
  const host = resources.use(openHostLab(programs));
  const client = resources.use(new Client());
  const vsock = resources.use(await openVsockTransports(client, programs.device, PINGPONG_PORT));
  const listen = [`vsock:any:${AGENT_PORT}`, `tcp:0.0.0.0:${AGENT_PORT}`];
  const common = {
    ...choice,
    image,
    exec: true,
    network: 'auto' as const,
    files: { ...programFiles(programs), ...files },
  };
  // Like multiplexers, the devices choose the source ports that the guest sees.
  const agent = {
    tcp: 'anybody' as const,
    args: ['--max-sessions', String(maxSessions), '--any-source-port'],
    ...(profile === undefined ? {} : { profile }),
  };
  const multiplexer = await findMultiplexer();
  const problem = multiplexerProblem(multiplexer.version, image.kernel.release);
  const [guest, other] = await resources.useAll([
    boot({
      ...common,
      // The guest has several devices, and commands must reach it while its driver changes to
      // another.
      vsock: 'none',
      devices: (machine) => vsock.devices(machine),
      agent: { ...agent, listen },
      ports: [PINGPONG_PORT],
    }),
    // vhost-device-vsock does not end its connections when the guest's driver leaves the device.
    ...(problem === undefined ? [boot({ ...common, vsock: 'mux', network: 'none', agent })] : []),
  ]);
  if (guest === undefined) throw new RangeError('no guest was booted');
  const guests = other === undefined ? [guest] : [guest, other];
  const { pingpong } = guestPrograms;
  await startPingpong(spawnerIn(guest), pingpong, `tcp:0.0.0.0:${PINGPONG_PORT}`);
  for (const one of guests) {
    await startPingpong(spawnerIn(one), pingpong, `vsock:any:${PINGPONG_PORT}`);
  }
  const run = runner(guest);
  const driver = await DriverSwitch.find(run, [guestPrograms.pingpong, 'cid']);
  const ends = [client.pid, ...vsock.pids];
  const meters = await metersOf(guest, ends);
  const transports = [
    plainTransport('tcp', guest, (port) => guest.tcp(port), programs, meters),
    ...vsock.transports.map((transport) =>
      vsockTransport(transport, run, programs, driver, meters),
    ),
    ...(other === undefined
      ? []
      : [
          plainTransport(
            'vsock-mux',
            other,
            (port) => other.vsock(port),
            programs,
            await metersOf(other, ends),
          ),
        ]),
  ];
  const { folder } = host;
  const owned = resources.move();
  const pids = [...guests.flatMap(({ processes }) => [processes.qemu, processes.vsock]), ...ends]
    // A guest without a vsock device of another process has no such process.
    .filter((pid) => pid !== undefined);
  return {
    folder,
    programs,
    guest: {
      environment: guestEnvironment(
        guest,
        other === undefined
          ? 'in-process device'
          : `in-process device; another guest's by ${other.info.vsock}`,
      ),
      transports,
      client,
      absent: [
        ...vsock.absent,
        ...(problem === undefined ? [] : [{ arm: 'vsock-mux', why: problem }]),
      ],
      programs: guestPrograms,
      run,
      spawn: spawnerIn(guest),
      write: (path, content) => guest.writeFile(path, content),
      pin: (cpu) => pin(pids, cpu),
    },
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}

/** Round trips and bulk of a plain C client with a socket. */
function limits(
  { pingpong }: Programs,
  address: string,
  use: () => Promise<void>,
): Pick<LabTransport, 'limit' | 'bulk'> {
  return {
    limit: async (exchange, amount, cpu) => {
      await use();
      return limitSamples(await runHere(limitCommand(pingpong, address, exchange, amount), cpu));
    },
    bulk: async (exchange, messages) => {
      await use();
      const command = bulkCommand(pingpong, address, exchange, messages);
      return limitSamples(await runHere(command))[0] ?? 0;
    },
  };
}

/** A transport that is always in use. */
function plainTransport(
  name: string,
  guest: Guest,
  address: (port?: number) => string,
  programs: Programs,
  meters: Meters,
): LabTransport {
  const use = async () => {};
  const pingpong = address(PINGPONG_PORT);
  const limit = limits(programs, pingpong, use);
  return { name, agent: address(), pingpong, run: runner(guest), use, meters, ...limit };
}

function vsockTransport(
  transport: VsockTransport,
  run: Run,
  programs: Programs,
  driver: DriverSwitch,
  meters: Meters,
): LabTransport {
  const { name, agent, pingpong, client } = transport;
  const use = () => driver.bind(transport.cid);
  const common = { name, agent, pingpong, run, use, meters };
  if (client === undefined) return { ...common, ...limits(programs, pingpong, use) };
  const useClient = () => driver.bind(client.cid);
  return {
    ...common,
    limit: async (exchange, amount) => {
      await useClient();
      return client.roundTrips(PINGPONG_PORT, exchange, amount);
    },
    bulk: async (exchange, messages) => {
      await useClient();
      return client.bulk(PINGPONG_PORT, exchange, messages);
    },
  };
}

type Meters = NonNullable<LabTransport['meters']>;

/** @param clients the processes on the host that talk to the guest */
async function metersOf(guest: Guest, clients: readonly number[]): Promise<Meters> {
  const { qemu, vsock } = guest.processes;
  const ends = vsock === undefined ? clients : [vsock, ...clients];
  const threads = await guest.processorThreads();
  const processors = new Set(threads.map((thread) => `${qemu}/${thread}`));
  const meter = (look: typeof threadTimes): Meter => {
    const lookAtBoth = () => Promise.all([look(ends), look([qemu])]);
    return async () => {
      const [hostBefore, guestBefore] = await lookAtBoth();
      return async () => {
        const [hostAfter, guestAfter] = await lookAtBoth();
        const used = useBetween.bind(undefined, guestBefore, guestAfter);
        return {
          host: useBetween(hostBefore, hostAfter),
          guest: used(),
          processors: used((thread) => processors.has(thread)),
          devices: used((thread) => !processors.has(thread)),
        };
      };
    };
  };
  return { cpu: meter(threadTimes), switches: meter(threadSwitches) };
}

/** Keeps processes, all of their threads, on one CPU, or lets them run on all. */
async function pin(pids: readonly number[], cpu: number | undefined): Promise<void> {
  const cpus = cpu === undefined ? `0-${availableParallelism() - 1}` : String(cpu);
  for (const pid of pids) await runTool('taskset', ['-a', '-c', '-p', cpus, String(pid)]);
}

/** Starts programs in a guest. */
export function spawnerIn(guest: Guest): Spawn {
  return (command, options) => guest.spawn(command, options);
}

/** Starts the plain C ping-pong server, which is at that path in the guest. */
export async function startPingpong(
  spawn: Spawn,
  pingpong: string,
  listen: string,
): Promise<GuestProcess> {
  const server = await spawn([pingpong, 'serve', listen]);
  const [line] = await Promise.race([server.stdout.take(1).toArray(), server.ended.then(() => [])]);
  if (String(line).startsWith('listening')) return server;
  throw failure('ERR_GUEST_COMMAND', {
    command: `pingpong serve ${listen}`,
    status: 'an early end',
    output: String(line),
  });
}

const commandTimeoutMs = 300_000;

/** Runs commands in a guest. */
export function runner(guest: Guest): Run {
  return async (command) => {
    const result = await guest.exec(command, { timeoutMs: commandTimeoutMs });
    if (result.status === 0) return result.stdout;
    throw failure('ERR_GUEST_COMMAND', {
      command: command.join(' '),
      status: result.status ?? `signal ${result.signal}`,
      output: result.stderr,
    });
  };
}
