import {
  type AcceleratorChoice,
  boot,
  buildImage,
  findMultiplexer,
  type Guest,
  type GuestFile,
  type GuestProcess,
  type Image,
  type KernelChoice,
  type Progress,
} from '../guest/index.js';
import { kernelVsockProblem } from '../guest/qemu/vsock.js';
import { failure } from '../src/errors.js';
import { compilePrograms, type Programs } from './compile.js';
import { Disposables } from './disposables.js';
import { type Lab, type LabGuest, type LabRoad, openHostLab } from './lab.js';

/** Which guest to boot. */
export interface GuestChoice {
  accel: AcceleratorChoice;
  kernel?: KernelChoice;
  /** Receives what people should be told, such as why KVM is not used. */
  notice: (line: string) => void;
}

const pingpongPort = 1025;
const guestPrograms: Programs = {
  pingpong: '/bin/waep-pingpong',
  native: '/bin/waep-native',
  maps: '/bin/waep-maps',
  stopwatch: '/bin/waep-stopwatch',
  uname: '/bin/waep-uname',
  events: '/bin/waep-events',
};
/** The most sessions that an experiment has open, and those that are about to end. */
const maxSessions = 256;

/** Everything that a guest needs and that takes long to get is got here, once. */
export async function prepareGuest(choice: GuestChoice, progress: Progress): Promise<Image> {
  await compilePrograms();
  const image = await buildImage({ kernel: choice.kernel, progress });
  await findMultiplexer(progress);
  return image;
}

/**
 * Boots a guest and starts the plain C ping-pong servers in it.
 *
 * @param files what it has besides, by path
 */
export async function openGuestLab(
  choice: GuestChoice,
  image: Image,
  files: Readonly<Record<string, GuestFile>> = {},
): Promise<Lab> {
  const programs = await compilePrograms();
  await using resources = new Disposables();
  const host = resources.use(openHostLab(programs));
  const guest = resources.use(
    await boot({
      image,
      accel: choice.accel,
      notice: choice.notice,
      lab: true,
      vsock: kernelVsockProblem() === undefined ? 'kernel' : 'mux',
      agent: { args: ['--max-sessions', String(maxSessions)] },
      ports: [pingpongPort],
      files: {
        [guestPrograms.pingpong]: { source: programs.pingpong, mode: 0o755 },
        [guestPrograms.native]: { source: programs.native, mode: 0o755 },
        [guestPrograms.maps]: { source: programs.maps, mode: 0o755 },
        [guestPrograms.stopwatch]: { source: programs.stopwatch, mode: 0o755 },
        [guestPrograms.uname]: { source: programs.uname, mode: 0o755 },
        ...files,
        [guestPrograms.events]: { source: programs.events, mode: 0o755 },
      },
    }),
  );
  const { roads, absent } = roadsOf(guest);
  for (const { listen } of roads) await startPingpong(guest, listen);
  const { folder } = host;
  const owned = resources.move();
  return {
    folder,
    programs,
    guest: labGuest(guest, roads, absent),
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}

interface ListeningRoad extends LabRoad {
  /** Where the plain C server listens, as the guest sees it. */
  listen: string;
}

function roadsOf(guest: Guest): { roads: ListeningRoad[]; absent: LabGuest['absent'] } {
  const roads: ListeningRoad[] = [];
  const absent: { arm: string; why: string }[] = [];
  if (guest.facts.network === 'none') {
    absent.push({ arm: 'tcp', why: 'the guest has no network' });
  } else {
    const listen = `tcp:0.0.0.0:${pingpongPort}`;
    roads.push({ name: 'tcp', agent: guest.tcp(), pingpong: guest.tcp(pingpongPort), listen });
  }
  for (const kind of ['mux', 'kernel'] as const) {
    const name = `vsock-${kind}`;
    if (guest.vsockRoad === kind) {
      const listen = `vsock:any:${pingpongPort}`;
      roads.push({ name, agent: guest.vsock(), pingpong: guest.vsock(pingpongPort), listen });
    } else {
      absent.push({ arm: name, why: absences[kind] });
    }
  }
  return { roads, absent };
}

const absences = {
  kernel: 'this machine has no usable /dev/vhost-vsock (try: modprobe vhost_vsock)',
  mux: 'the guest’s one vsock device is served by the kernel here',
} as const;

async function startPingpong(guest: Guest, listen: string): Promise<GuestProcess> {
  const server = await guest.spawn([guestPrograms.pingpong, 'serve', listen]);
  const [line] = await Promise.race([server.stdout.take(1).toArray(), server.ended.then(() => [])]);
  if (String(line).startsWith('listening')) return server;
  throw failure('ERR_GUEST_COMMAND', {
    command: `pingpong serve ${listen}`,
    status: 'an early end',
    output: String(line),
  });
}

const commandTimeoutMs = 300_000;

function labGuest(guest: Guest, roads: readonly LabRoad[], absent: LabGuest['absent']): LabGuest {
  const { facts } = guest;
  return {
    environment: {
      accel: facts.accel,
      why: facts.why,
      qemu: facts.qemu,
      machine: facts.machine,
      kernel: facts.kernel,
      commandLine: facts.commandLine,
      memoryMib: facts.memoryMib,
      cpus: facts.cpus,
      network: facts.network,
      vsock: facts.vsock,
    },
    roads,
    absent,
    programs: guestPrograms,
    run: async (command) => {
      const result = await guest.exec(command, { timeoutMs: commandTimeoutMs });
      if (result.status === 0) return result.stdout;
      throw failure('ERR_GUEST_COMMAND', {
        command: command.join(' '),
        status: result.status ?? `signal ${result.signal}`,
        output: result.stderr,
      });
    },
    write: (path, content) => guest.writeFile(path, content),
  };
}
