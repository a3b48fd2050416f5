import { createServer } from 'node:net';
import { makeRunFolder } from '../guest/rundir.js';
import type { Programs } from './compile.js';
import type { GuestEnvironment } from './environment.js';

/** What one boot of an experiment runs on. */
export interface Lab extends AsyncDisposable {
  /** A folder for sockets and files of this boot. */
  readonly folder: string;
  readonly programs: Programs;
  /** The guest of this boot, where the experiment asked for one. */
  readonly guest?: LabGuest;
}

/** A way to reach the guest. */
export interface LabRoad {
  /** The arm's name: `tcp`, `vsock-mux`, `vsock-kernel`. */
  name: string;
  /** The agent's address. */
  agent: string;
  /** The address of the plain C ping-pong server in the guest. */
  pingpong: string;
}

/** A guest that is up, with the agent and the plain C ping-pong server running in it. */
export interface LabGuest {
  readonly environment: GuestEnvironment;
  readonly roads: readonly LabRoad[];
  /** Roads that this machine does not have, and why. */
  readonly absent: ReadonlyArray<{ arm: string; why: string }>;
  /** The C programs' paths in the guest. */
  readonly programs: Programs;
  /** Runs a program in the guest to its end and returns its standard output. */
  run(command: readonly string[]): Promise<string>;
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

/** Returns a TCP port that was free on the loopback address just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
