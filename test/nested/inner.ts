/*
 * A guest within a guest. The machine that runs the tests is an ordinary one, whose kernel may lack
 * vhost_vsock; a guest's own kernel has it, so the guest becomes the host of another.
 */
import { existsSync } from 'node:fs';
import { buildImage, writeInitramfs } from '../../guest/image/image.js';
import { sharedLibraries } from '../../guest/image/libraries.js';
import { unpackKernel } from '../../guest/image/unpack.js';
import type { GuestFile } from '../../guest/index.js';
import { AGENT_PORT, LAB_PORT } from '../../guest/index.js';
import { tscKhz } from '../../guest/qemu/clock.js';
import {
  board,
  commandLine,
  kernel,
  kernelVsock,
  processor,
  serialLog,
  tscFrequency,
} from '../../guest/qemu/devices.js';
import { requireTool } from '../../guest/tools.js';

/** The inner guest's context identifier on the outer one. */
export const INNER_CID = 42;

/** Where the outer guest has the inner one's console. */
export const INNER_LOG = '/inner/serial.log';

const MEMORY_MIB = 1024;
const KERNEL = '/inner/vmlinux';
const INITRAMFS = '/inner/initramfs.cpio';

/** What QEMU loads at run time, where Debian puts it. */
const qemuParts = [
  '/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so',
  '/usr/share/qemu/bios-microvm.bin',
  '/usr/share/seabios/bios-microvm.bin',
  '/usr/share/qemu/pvh.bin',
];

/** An inner guest: what the outer one needs for it, and how it is started there. */
export interface Inner {
  files: Readonly<Record<string, GuestFile>>;
  command: readonly string[];
}

/**
 * Makes an inner guest with an agent of profile `full` and the lab's command daemon, on AF_VSOCK.
 *
 * @param folder where its initramfs is written
 * @param files put into it, by absolute path
 */
export async function makeInner(
  folder: string,
  files: Readonly<Record<string, GuestFile>>,
): Promise<Inner> {
  const image = await buildImage();
  const initramfs = await writeInitramfs(image, folder, {
    files,
    lab: true,
    agentArguments: ['--listen', `vsock:any:${AGENT_PORT}`, '--profile', 'full'],
    settings: { LAB_PORT: `${LAB_PORT}` },
  });
  const vmlinux = (await unpackKernel(image.kernel.image)) ?? image.kernel.image;
  const qemu = requireTool('qemu-system-x86_64');
  const parts = [
    ...(await sharedLibraries([qemu])),
    ...qemuParts.filter((path) => existsSync(path)),
  ];
  const devices = [
    board('microvm', MEMORY_MIB),
    processor('tcg', 1),
    kernel(KERNEL, INITRAMFS),
    serialLog(INNER_LOG),
    tscFrequency(await tscKhz()),
    kernelVsock('microvm', INNER_CID),
  ];
  return {
    files: {
      [qemu]: { source: qemu },
      [KERNEL]: { source: vmlinux },
      [INITRAMFS]: { source: initramfs },
      ...Object.fromEntries(parts.map((path) => [path, { source: path }])),
    },
    command: [qemu, ...commandLine(devices, [])],
  };
}
