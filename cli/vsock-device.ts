import { chownSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Command } from 'commander';
import pc from 'picocolors';
import { chooseUid, othersCanEnter } from '../guest/vm/qemu/confinement.js';
import { systemError } from '../src/errors.js';
import { startWithoutRings } from '../src/event-loop.js';
import { native } from '../src/native.js';
import { VsockDevice } from '../src/transport/index.js';
import { wholeNumber } from '../src/whole-number.js';

interface Options {
  socket: string;
  udsPath: string;
  guestCid: number;
  confine: boolean;
}

/**
 * `waep vsock-device`: serves a guest's vsock device that outlives the applications which use it.
 */
export function vsockDeviceCommand(): Command {
  return new Command('vsock-device')
    .summary("serve a guest's vsock device to every program")
    .description(
      "Serve a guest's virtio-vsock device until Ctrl-C, in place of vhost-device-vsock. QEMU connects to --socket (the chardev of vhost-user-vsock-pci). Programs connect to --uds-path and send CONNECT PORT. Connections of the guest to a port of the host arrive at --uds-path_PORT. For waep the guest's address is vsock-device:UDS-PATH:PORT. When QEMU ends, the device waits for the next QEMU.",
    )
    .requiredOption('--socket <path>', 'the vhost-user socket, for QEMU')
    .requiredOption('--uds-path <path>', 'the socket for programs')
    .option('--guest-cid <cid>', "the guest's context identifier", wholeNumber(3), 3)
    .option(
      '--no-confine',
      'keep this user and every system call (default: from root, become a user that has nothing)',
    )
    .addHelpText('after', ENDING)
    .action(serve);
}

const ENDING = `
Started by root, it becomes a user that nobody else is, once its sockets are there, and does without
system calls that start programs or give rights. The sockets are that user's then. What the guest
connects to arrives at a listener that waep has made, or at one whose socket you have given to the
owner of --uds-path, in a folder that everybody can enter. The two sockets stay when it ends; the next
one replaces them.
`;

/** Gives up all privileges that serving the device does not need. */
function confine(paths: readonly [socket: string, udsPath: string]): void {
  const uid = chooseUid();
  if (uid !== undefined) {
    const folder = dirname(paths[1]);
    if (!othersCanEnter(folder)) {
      const why = `What the guest connects to does not arrive: only root can enter ${folder}.`;
      console.error(pc.yellow(`${why} Choose another folder, or give --no-confine.`));
    }
    for (const path of paths) chownSync(path, uid, uid);
    process.setgroups?.([]);
    process.setgid?.(uid);
    process.setuid?.(uid);
  }
  const error = native.restrain();
  if (error < 0) throw systemError('seccomp', error);
}

async function serve({ socket, udsPath, guestCid, confine: confined }: Options): Promise<void> {
  if (confined) startWithoutRings();
  const path = resolve(udsPath);
  const device = await VsockDevice.open({
    socket: resolve(socket),
    path,
    multiplexer: true,
    guestCid,
  });
  if (confined) confine([resolve(socket), path]);
  device.on('up', () => console.error("The guest's driver is there."));
  device.on('down', () => console.error("The guest's driver has gone."));
  console.log(`vsock-device:${path}`);
  console.error(pc.dim(`QEMU's part: -chardev socket,id=vsock,path=${resolve(socket)}`));
  console.error(pc.dim('             -device vhost-user-vsock-pci,chardev=vsock'));
  console.error(pc.dim('Ctrl-C ends it, and the vsock of the guest until QEMU is started anew.'));
  // An open device does not keep the process running.
  const alive = setInterval(() => {}, 2 ** 30);
  await new Promise<void>((settle) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, settle);
  });
  clearInterval(alive);
  await device.close();
}
