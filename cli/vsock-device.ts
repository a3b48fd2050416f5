import { resolve } from 'node:path';
import { Command } from 'commander';
import pc from 'picocolors';
import { VsockDevice } from '../src/transport/index.js';
import { wholeNumber } from '../src/whole-number.js';

interface Options {
  socket: string;
  udsPath: string;
  guestCid: number;
}

/** `waep vsock-device`: a guest's vsock device that outlives the applications which use it. */
export function vsockDeviceCommand(): Command {
  return new Command('vsock-device')
    .summary("serve a guest's vsock device to every program")
    .description(
      "Serve a guest's virtio-vsock device until Ctrl-C, in place of vhost-device-vsock. QEMU connects to --socket (the chardev of vhost-user-vsock-pci). Programs connect to --uds-path and send CONNECT PORT. Connections of the guest to a port of the host arrive at --uds-path_PORT. For waep the guest's address is vsock-device:UDS-PATH:PORT. When QEMU ends, the device waits for the next QEMU.",
    )
    .requiredOption('--socket <path>', 'the vhost-user socket, for QEMU')
    .requiredOption('--uds-path <path>', 'the socket for programs')
    .option('--guest-cid <cid>', "the guest's context identifier", wholeNumber(3), 3)
    .action(serve);
}

async function serve({ socket, udsPath, guestCid }: Options): Promise<void> {
  const path = resolve(udsPath);
  const device = await VsockDevice.open({
    socket: resolve(socket),
    path,
    multiplexer: true,
    guestCid,
  });
  device.on('up', () => console.error("The guest's driver is there."));
  device.on('down', () => console.error("The guest's driver has gone."));
  console.log(`vsock-device:${path}`);
  console.error(pc.dim(`QEMU's part: -chardev socket,id=vsock,path=${resolve(socket)}`));
  console.error(pc.dim('             -device vhost-user-vsock-pci,chardev=vsock'));
  console.error(pc.dim('Ctrl-C ends it, and the vsock of the guest until QEMU is started anew.'));
  // A device does not keep a program from ending.
  const alive = setInterval(() => {}, 2 ** 30);
  await new Promise<void>((settle) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, settle);
  });
  clearInterval(alive);
  await device.close();
}
