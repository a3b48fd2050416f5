/*
 * A guest within a guest. The machine that runs this is an ordinary one, whose kernel may lack
 * vhost_vsock; a guest's own kernel has it, so the guest becomes the host of another.
 */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildImage, writeInitramfs } from '../guest/image/image.js';
import { sharedLibraries } from '../guest/image/libraries.js';
import { unpackKernel } from '../guest/image/unpack.js';
import {
  AGENT_PORT,
  type BootOptions,
  boot,
  type Guest,
  type GuestFile,
  type GuestProcess,
  type ImageOptions,
} from '../guest/index.js';
import { requireTool } from '../guest/tools.js';
import { tscKhz } from '../guest/vm/qemu/clock.js';
import {
  board,
  commandLine,
  kernel,
  kernelCommandLine,
  kernelVsock,
  processor,
  serialLog,
  tapNetwork,
  tscFrequency,
} from '../guest/vm/qemu/devices.js';
import { makeRunFolder } from '../guest/vm/rundir.js';
import { Disposables } from './disposables.js';
import { type GuestEnvironment, guestEnvironment } from './environment.js';
import { bundleText } from './guest-bundle.js';

/** The inner guest's context identifier on the outer one. */
export const INNER_CID = 42;

/** The inner guest's address on the network that it shares with the outer one alone. */
export const INNER_ADDRESS = '10.88.0.2';
const OUTER_ADDRESS = '10.88.0.1';
const TAP = 'inner0';
const MAC = '52:54:00:58:00:00';

/** Where the outer guest has the inner one's console. */
const INNER_LOG = '/inner/serial.log';

/** Who can reach the inner guest's daemon is in the outer guest already. */
export const INNER_EXEC_KEY = 'inner';
const INNER_COMMAND = '/usr/lib/waep/inner-command.mjs';
const BOOT_DEADLINE_MS = 1_800_000;
const LOOK_MS = 2000;
const MEMORY_MIB = 1024;
const KERNEL = '/inner/vmlinux';
const INITRAMFS = '/inner/initramfs.cpio';
const listen = [`vsock:any:${AGENT_PORT}`, `tcp:0.0.0.0:${AGENT_PORT}`];

/** What QEMU loads at run time, where Debian puts it. */
const qemuParts = [
  '/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so',
  '/usr/share/qemu/bios-microvm.bin',
  '/usr/share/seabios/bios-microvm.bin',
  '/usr/share/qemu/pvh.bin',
];

/** The modules of the outer guest, beyond those of every guest. */
const outerModules = ['vhost_vsock', 'tun'];

/** An inner guest: what the outer one needs for it, and how it is started there. */
interface Inner {
  files: Readonly<Record<string, GuestFile>>;
  command: readonly string[];
  environment: Omit<GuestEnvironment, 'qemu'>;
}

/**
 * Makes an inner guest with an agent of profile `full` and the command daemon, on AF_VSOCK, and on
 * the network that it shares with the outer guest.
 *
 * @param folder where its initramfs is written
 * @param files put into it, by absolute path
 */
async function makeInner(
  folder: string,
  files: Readonly<Record<string, GuestFile>>,
  options: ImageOptions,
): Promise<Inner> {
  const image = await buildImage(options);
  const initramfs = await writeInitramfs(image, folder, {
    files,
    execKey: INNER_EXEC_KEY,
    agentArguments: [
      ...listen.flatMap((address) => ['--listen', address]),
      ...['--insecure-tcp', '--profile', 'full'],
    ],
    settings: { ADDRESS: INNER_ADDRESS },
  });
  const vmlinux = (await unpackKernel(image.kernel.image)) ?? image.kernel.image;
  const qemu = requireTool('qemu-system-x86_64');
  const parts = [
    ...(await sharedLibraries([qemu])),
    ...qemuParts.filter((path) => existsSync(path)),
  ];
  const processors = processor('tcg', 1);
  const devices = [
    board('microvm', MEMORY_MIB),
    processors,
    kernel(KERNEL, INITRAMFS),
    serialLog(INNER_LOG),
    tscFrequency(await tscKhz()),
    kernelVsock('microvm', INNER_CID),
    tapNetwork('microvm', TAP, MAC),
  ];
  return {
    files: {
      [qemu]: { source: qemu },
      [KERNEL]: { source: vmlinux },
      [INITRAMFS]: { source: initramfs },
      ...Object.fromEntries(parts.map((path) => [path, { source: path }])),
    },
    command: [qemu, ...commandLine(devices, [])],
    environment: {
      accel: 'tcg',
      why: 'it runs in a guest',
      machine: 'microvm',
      cpu: processors.cpu,
      kernel: image.kernel.release,
      commandLine: kernelCommandLine(devices, []),
      memoryMib: MEMORY_MIB,
      cpus: 1,
      network: 'tap',
      vsock: 'the outer guest’s kernel',
    },
  };
}

/** A guest, and the one in it. */
export interface Nested extends AsyncDisposable {
  readonly outer: Guest;
  /** Describes the inner one, with the outer one. */
  readonly environment: GuestEnvironment;
  /** What the inner one's QEMU has said. */
  qemuOutput(): string;
  /** Resolves when the inner one's agent and daemon listen. */
  up(): Promise<void>;
  /** Starts a command in the inner one. */
  spawnInner(command: readonly string[]): Promise<GuestProcess>;
}

/** How the outer guest is run, and which kernel both have. */
export type NestedOptions = Pick<
  BootOptions,
  'accel' | 'machine' | 'cpu' | 'kernelArgs' | 'deadlineMs' | 'kernel' | 'notice' | 'progress'
>;

/** Fetches and builds what both guests need. */
export async function prepareNested({ kernel, progress }: ImageOptions): Promise<void> {
  await buildImage({ kernel, progress });
  await buildImage({ kernel, progress, modules: outerModules });
}

/**
 * Boots a guest with another in it.
 *
 * @param files put into both, by absolute path
 */
export async function bootNested(
  files: Readonly<Record<string, GuestFile>>,
  options: NestedOptions = {},
): Promise<Nested> {
  const { kernel, progress } = options;
  await using resources = new Disposables();
  const run = makeRunFolder();
  try {
    const inner = await makeInner(run.path, files, { kernel, progress });
    const command = new URL('./inner-command.js', import.meta.url);
    const outer = resources.use(
      await boot({
        notice: () => {},
        ...options,
        agent: false,
        exec: true,
        cpus: 2,
        memoryMib: 4096,
        modules: outerModules,
        files: { ...inner.files, ...files, [INNER_COMMAND]: { text: await bundleText(command) } },
      }),
    );
    const nested = await startInner(outer, inner);
    resources.move();
    return nested;
  } finally {
    run.remove();
  }
}

async function startInner(outer: Guest, inner: Inner): Promise<Nested> {
  await outer.sh(`tunctl -t ${TAP} && ifconfig ${TAP} ${OUTER_ADDRESS} netmask 255.255.255.0 up`);
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
  const lines = [
    ...listen.map((address) => `waep-agent: listening on ${address}`),
    'waep-execd: listening',
  ];
  return {
    outer,
    environment: {
      ...inner.environment,
      qemu: outer.info.qemu,
      outer: guestEnvironment(outer, outer.info.vsock),
    },
    qemuOutput: () => output,
    async up() {
      const startMs = performance.now();
      for (;;) {
        if (ending !== undefined) throw new Error(`the inner QEMU ended: ${ending} ${output}`);
        const log = await outer.readFile(INNER_LOG).catch(() => '');
        if (lines.every((line) => log.includes(line))) return;
        if (performance.now() - startMs > BOOT_DEADLINE_MS) {
          throw new Error(`the inner guest did not come up in time: ${log}`);
        }
        await sleep(LOOK_MS);
      }
    },
    spawnInner: (command) =>
      outer.spawn(['node', INNER_COMMAND, `${INNER_CID}`, INNER_EXEC_KEY, ...command], {
        env: { WAEP_NATIVE_DIR: '/usr/lib/waep' },
      }),
    [Symbol.asyncDispose]: () => outer.stop(),
  };
}
