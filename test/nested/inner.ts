/*
 * A guest within a guest. The machine that runs the tests is an ordinary one, whose kernel may lack
 * vhost_vsock; a guest's own kernel has it, so the guest becomes the host of another.
 */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { buildImage, writeInitramfs } from '../../guest/image/image.js';
import { sharedLibraries } from '../../guest/image/libraries.js';
import { unpackKernel } from '../../guest/image/unpack.js';
import {
  AGENT_PORT,
  boot,
  type Guest,
  type GuestFile,
  type GuestProcess,
} from '../../guest/index.js';
import { requireTool } from '../../guest/tools.js';
import { tscKhz } from '../../guest/vm/qemu/clock.js';
import {
  board,
  commandLine,
  kernel,
  kernelVsock,
  processor,
  serialLog,
  tscFrequency,
} from '../../guest/vm/qemu/devices.js';
import { bundleForGuest } from '../guest-bundle.js';
import { until } from '../until.js';

/** The inner guest's context identifier on the outer one. */
export const INNER_CID = 42;

/** Where the outer guest has the inner one's console. */
const INNER_LOG = '/inner/serial.log';

/** Who can reach the inner guest's daemon is in the outer guest already. */
export const INNER_EXEC_KEY = 'inner';
const INNER_COMMAND = '/usr/lib/waep/inner-command.mjs';
const BOOT_DEADLINE_MS = 1_800_000;
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
interface Inner {
  files: Readonly<Record<string, GuestFile>>;
  command: readonly string[];
}

/**
 * Makes an inner guest with an agent of profile `full` and the command daemon, on AF_VSOCK.
 *
 * @param folder where its initramfs is written
 * @param files put into it, by absolute path
 */
async function makeInner(
  folder: string,
  files: Readonly<Record<string, GuestFile>>,
): Promise<Inner> {
  const image = await buildImage();
  const initramfs = await writeInitramfs(image, folder, {
    files,
    execKey: INNER_EXEC_KEY,
    agentArguments: ['--listen', `vsock:any:${AGENT_PORT}`, '--profile', 'full'],
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

/** A guest, and the one in it. */
export interface Nested extends AsyncDisposable {
  readonly outer: Guest;
  /** What the inner one's QEMU has said. */
  qemuOutput(): string;
  /** Resolves when the inner one's agent and daemon listen. */
  up(): Promise<void>;
  /** Starts a command in the inner one. */
  spawnInner(
    command: readonly string[],
    options: { env: Readonly<Record<string, string>> },
  ): Promise<GuestProcess>;
}

/**
 * Boots a guest with another in it.
 *
 * @param folder for what is made for them
 * @param files put into both, by absolute path
 */
export async function bootNested(
  folder: string,
  files: Readonly<Record<string, GuestFile>>,
): Promise<Nested> {
  const module = new URL('./inner-command.js', import.meta.url);
  const source = await bundleForGuest(module, folder, basename(INNER_COMMAND));
  const inner = await makeInner(folder, files);
  const outer = await boot({
    agent: false,
    exec: true,
    cpus: 2,
    memoryMib: 4096,
    modules: ['vhost_vsock'],
    files: { ...inner.files, ...files, [INNER_COMMAND]: { source } },
    notice: () => {},
  });
  const qemu = await outer.spawn(inner.command);
  let output = '';
  for (const stream of [qemu.stdout, qemu.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  let ending: string | undefined;
  qemu.ended.then(
    (how) => {
      ending = JSON.stringify(how);
    },
    (error: Error) => {
      ending = error.message;
    },
  );
  let log = '';
  const listening = async () => {
    if (ending !== undefined) throw new Error(`the inner QEMU ended: ${ending} ${output}`);
    log = await outer.readFile(INNER_LOG).catch(() => '');
    return ['waep-agent: listening', 'waep-execd: listening'].every((line) => log.includes(line));
  };
  return {
    outer,
    qemuOutput: () => output,
    async up() {
      const patience = { withinMs: BOOT_DEADLINE_MS, everyMs: 2000 };
      await until(() => `the inner guest: ${log}`, listening, patience);
    },
    spawnInner: (command, options) =>
      outer.spawn(['node', INNER_COMMAND, `${INNER_CID}`, INNER_EXEC_KEY, ...command], options),
    [Symbol.asyncDispose]: () => outer.stop(),
  };
}
