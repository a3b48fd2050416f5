import { createServer } from 'node:net';
import type { GuestFile, GuestProcess, SpawnOptions } from '../guest/index.js';
import { makeRunFolder } from '../guest/vm/rundir.js';
import type { Measurer } from './client/client.js';
import type { Programs } from './compile.js';
import type { GuestEnvironment } from './environment.js';
import type { Exchange } from './limit.js';
import type { Amount } from './types.js';

/** Everything that one boot of an experiment runs on. */
export interface Lab extends AsyncDisposable {
  /** A folder for sockets and files of this boot. */
  readonly folder: string;
  readonly programs: Programs;
  /** The guest of this boot, where the experiment asked for one. */
  readonly guest?: LabGuest;
}

/** A way to reach the guest. */
export interface LabTransport {
  /** The arm's name: `tcp`, `vsock-mux`, `vsock-device`, `vsock-kernel`. */
  name: string;
  /** The agent's address. */
  agent: string;
  /** The address of the plain C ping-pong server in the guest. */
  pingpong: string;
  /** Runs a program to its end in the guest of this transport, and returns its standard output. */
  run(command: readonly string[]): Promise<string>;
  /**
   * Makes this the transport by which the guest can be reached. The guest has several vsock
   * devices, but its driver serves one at a time. Connections over another vsock transport end.
   */
  use(): Promise<void>;
  /**
   * Measures round trips of the plain C client, in nanoseconds, on one CPU or on all. If the
   * transport is a device in a process, the C client is another process with a device of its own.
   */
  limit(
    exchange: Exchange,
    amount: Pick<Amount, 'samples' | 'warmup'>,
    cpu?: number,
  ): Promise<readonly number[]>;
  /**
   * Measures how long the plain C client takes to send `messages` requests without waiting and then
   * to receive as many replies, in nanoseconds.
   */
  bulk(exchange: Exchange, messages: number): Promise<number>;
  /** What threads on this machine use for it; absent where they are those of another guest. */
  readonly meters?: {
    /** Processor time, in nanoseconds. */
    readonly cpu: Meter;
    /** How often threads stopped running, to wait or because another one ran. */
    readonly switches: Meter;
  };
}

/**
 * Begins to measure what threads use. Resolves with a function that ends the measurement and
 * returns what was used.
 */
export type Meter = () => Promise<() => Promise<Use>>;

/** What threads used. Plain C clients with a socket count on neither side. */
export interface Use {
  /** Of the host's processes at the ends of the transports. */
  host: number;
  /** Of the process that runs this guest: `processors` and `devices` together. */
  guest: number;
  /** Of the threads that run the guest's processors. */
  processors: number;
  /** Of QEMU's other threads. */
  devices: number;
}

/** Starts a program in a guest. */
export type Spawn = (command: readonly string[], options?: SpawnOptions) => Promise<GuestProcess>;

/** The port of the plain C ping-pong server in a guest, on every transport. */
export const PINGPONG_PORT = 1025;

/** The paths of the C programs in a guest. */
export const guestPrograms: Programs = {
  pingpong: '/bin/waep-pingpong',
  native: '/bin/waep-native',
  maps: '/bin/waep-maps',
  stopwatch: '/bin/waep-stopwatch',
  uname: '/bin/waep-uname',
  events: '/bin/waep-events',
};

/** The files of a guest that {@link guestPrograms} are. */
export function programFiles(programs: Programs): Record<string, GuestFile> {
  const names = Object.keys(guestPrograms) as (keyof Programs)[];
  return Object.fromEntries(
    names.map((name) => [guestPrograms[name], { source: programs[name], mode: 0o755 }]),
  );
}

/** A guest that is up, with the agent and the plain C ping-pong server running in it. */
export interface LabGuest {
  readonly environment: GuestEnvironment;
  readonly transports: readonly LabTransport[];
  /** The client process, in which the in-process device is. */
  readonly client: Measurer;
  /** The transports that this machine does not have, with the reasons. */
  readonly absent: ReadonlyArray<{ arm: string; why: string }>;
  /** The C programs' paths in the guest. */
  readonly programs: Programs;
  /** Runs a program in the guest to its end and returns its standard output. */
  run(command: readonly string[]): Promise<string>;
  /** Starts a program in the guest. */
  readonly spawn: Spawn;
  /** Keeps QEMU and everything on the host that talks to it on one CPU, or lets it run on all. */
  pin(cpu: number | undefined): Promise<void>;
  /** Puts a file into the guest. */
  write(path: string, content: Uint8Array): Promise<void>;
}

/** Opens what an experiment without a guest runs on. */
export function openHostLab(programs: Programs): Lab {
  const folder = makeRunFolder();
  return {
    folder: folder.path,
    programs,
    [Symbol.asyncDispose]: async () => folder.remove(),
  };
}

/** Returns a TCP port of the loopback address that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
