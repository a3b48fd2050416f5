import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { chmod, copyFile, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type OptionNames, refuseUnknownOptions } from '../../src/known-options.js';
import { nativeFile, requirePlatform } from '../../src/native.js';
import { agentPath, packageFolder } from '../../src/paths.js';
import { requireTool, runTool } from '../tools.js';
import { EXEC_PORT } from '../vm/exec.js';
import { cached, contentKey, prune } from './cache.js';
import { type CpioEntry, cpio } from './cpio.js';
import { findKernel, type Kernel, type KernelChoice } from './kernel.js';
import { sharedLibraries } from './libraries.js';
import { guestModules, readModules } from './modules.js';
import { type Progress, silent } from './progress.js';
import { compileStatic } from './static.js';

/** The files that a guest boots from. They are in the cache, and many guests may use them. */
export interface Image {
  /** The kernel that the image boots. */
  kernel: Kernel;
  /** The archive with the parts that seldom change: Node, busybox and the kernel's modules. */
  base: string;
  /** A key of all content in {@link Image.base}. */
  key: string;
  /** The Node version in the image, such as `v20.20.2`. */
  node: string;
}

/** What to make an image of. */
export interface ImageOptions {
  /** The kernel of the image. Default: that of the configured Debian suite. */
  kernel?: KernelChoice | undefined;
  /** Kernel modules to load beyond `guestModules`. */
  modules?: readonly string[];
  /** Called with each step, in words, while the image is made. */
  progress?: Progress | undefined;
}

const imageNames: OptionNames<ImageOptions> = { kernel: true, modules: true, progress: true };

/**
 * Makes the image, or finds it in the cache.
 *
 * The archive is left uncompressed: under emulation, unpacking zstd costs the guest 1.5 s of its
 * boot where copying costs 0.5 s.
 *
 * @throws ERR_PACKAGE_UNAVAILABLE, ERR_KERNEL_MODULE, ERR_TOOL_MISSING
 */
export async function buildImage(options: ImageOptions = {}): Promise<Image> {
  refuseUnknownOptions('buildImage()', options, imageNames);
  requirePlatform('The agent of a guest');
  const progress = options.progress ?? silent;
  const kernel = await findKernel(options.kernel, progress);
  const modules = [...guestModules, ...(options.modules ?? [])];
  const programs = [process.execPath, requireTool('busybox')];
  const key = contentKey(
    kernel.origin,
    JSON.stringify([modules, fileSystems]),
    ...(await Promise.all([kernel.image, kernel.modules, ...programs].map(identity))),
  );
  const folder = await cached('images', key, async (draft) => {
    // Each is about 100 MB, and a new one often replaces an old one.
    await prune('images');
    progress(`building the guest image for Linux ${kernel.release}`);
    await writeArchive(join(draft, 'base.cpio'), await baseEntries(kernel, modules));
  });
  return { kernel, base: join(folder, 'base.cpio'), key, node: process.version };
}

/**
 * A file that is put into the guest: its content, or the path here that has it, or the path that a
 * symbolic link leads to.
 */
export type GuestFile =
  | { text: string; mode?: number }
  | { source: string; mode?: number }
  | { link: string };

/** The parts of a guest that change from boot to boot. */
export interface OverlayOptions {
  /** Files by absolute path in the guest. */
  files?: Readonly<Record<string, GuestFile>>;
  /** Arguments of the agent; without them no agent is started. */
  agentArguments?: readonly string[] | undefined;
  /** Settings that guest/agent/init reads, by name. */
  settings?: Readonly<Record<string, string>>;
  /** The key of the command daemon of tests and bench, where that is to be in the guest. */
  execKey?: string | undefined;
  /** Whether nothing is mounted below /sys, as in many guests of other makers. */
  bare?: boolean;
}

/**
 * Writes the initramfs of one boot: the image's base, then what belongs to this boot alone.
 *
 * @returns the path of the archive, `initramfs.cpio` in `folder`
 */
export async function writeInitramfs(
  image: Image,
  folder: string,
  options: OverlayOptions,
): Promise<string> {
  const path = join(folder, 'initramfs.cpio');
  await copyFile(image.base, path);
  // It may contain keys.
  await chmod(path, 0o600);
  // The kernel unpacks several archives in a row, each as if it were alone.
  await writeArchive(path, await overlayEntries(options), 'a');
  return path;
}

/** What the first process of every guest mounts, in this order, once devices are there. */
const leastFileSystems: readonly string[] = [
  'proc /proc proc',
  'sysfs /sys sysfs',
  'tmpfs /run tmpfs',
  'tmpfs /dev/shm tmpfs',
  'devpts /dev/pts devpts',
];

/** What it mounts as well, unless the guest is a bare one. */
const fileSystems: readonly string[] = [
  ...leastFileSystems,
  'tracefs /sys/kernel/tracing tracefs',
  'debugfs /sys/kernel/debug debugfs',
  'securityfs /sys/kernel/security securityfs',
  'bpf /sys/fs/bpf bpf',
  'cgroup2 /sys/fs/cgroup cgroup2',
];

const fstab = (lines: readonly string[]) => text(lines.map((line) => `${line}\n`));

/** Returns a key for a file's content, without reading the file. */
async function identity(path: string): Promise<string> {
  const { size, mtimeMs, ino } = await stat(path);
  return `${path}:${size}:${mtimeMs}:${ino}`;
}

async function baseEntries(
  kernel: Kernel,
  modules: readonly string[],
): Promise<Map<string, CpioEntry>> {
  const entries = new Map<string, CpioEntry>();
  for (const folder of ['/dev', '/proc', '/sys', '/run', '/tmp', '/root', '/sbin']) {
    entries.set(folder, { kind: 'folder' });
  }
  entries.set('/etc/fstab', fstab(fileSystems));
  const applets = (await runTool('busybox', ['--list'])).split('\n');
  for (const applet of applets) entries.set(`/bin/${applet}`, { kind: 'link', to: 'busybox' });
  entries.set('/bin/busybox', await program(requireTool('busybox')));
  entries.set('/bin/node', await program(process.execPath));
  for (const library of await sharedLibraries([process.execPath])) {
    entries.set(library, await program(library));
  }
  const contents = await readModules(kernel.modules, modules);
  const home = `/lib/modules/${kernel.release}`;
  for (const { name, content } of contents) {
    entries.set(`${home}/${name}.ko`, { kind: 'file', content });
  }
  // modprobe is to load them in the order given; without this list it would not find them.
  entries.set(`${home}/modules.dep`, text(contents.map(({ name }) => `${name}.ko:\n`)));
  const names = contents.map(({ name }) => name).join(' ');
  entries.set('/etc/waep/modules', text([`MODULES='${names}'\n`]));
  return entries;
}

async function overlayEntries(options: OverlayOptions): Promise<Map<string, CpioEntry>> {
  const entries = new Map<string, CpioEntry>();
  entries.set('/init', await program(join(packageFolder, 'guest/agent/init')));
  const { execKey, settings = {} } = options;
  const daemon = execKey === undefined ? {} : { EXEC_PORT: `${EXEC_PORT}`, EXEC_KEY: execKey };
  const lines = Object.entries({ ...settings, ...daemon }).map(
    ([name, value]) => `${name}='${value}'\n`,
  );
  entries.set('/etc/waep/settings', {
    kind: 'file',
    content: Buffer.from(lines.join('')),
    mode: 0o600,
  });
  if (options.bare === true) entries.set('/etc/fstab', fstab(leastFileSystems));
  if (options.agentArguments !== undefined) {
    entries.set('/usr/lib/waep/agent.cjs', await program(agentPath));
    for (const name of ['waep.node', 'waep-keeper', 'waep-executor']) {
      entries.set(`/usr/lib/waep/${name}`, await program(nativeFile(name)));
    }
    entries.set(
      '/etc/waep/agent-arguments',
      text(options.agentArguments.map((line) => `${line}\n`)),
    );
  }
  if (execKey !== undefined) {
    const daemon = await compileStatic(join(packageFolder, 'guest/agent/exec/execd.c'));
    entries.set('/usr/lib/waep/execd', await program(daemon));
  }
  for (const [path, file] of Object.entries(options.files ?? {})) {
    entries.set(path, await entryOf(file));
  }
  return entries;
}

async function entryOf(file: GuestFile): Promise<CpioEntry> {
  if ('link' in file) return { kind: 'link', to: file.link };
  const content = 'text' in file ? Buffer.from(file.text) : await readFile(file.source);
  return { kind: 'file', content, mode: file.mode ?? 0o755 };
}

async function program(path: string): Promise<CpioEntry> {
  return { kind: 'file', content: await readFile(path), mode: 0o755 };
}

function text(lines: readonly string[]): CpioEntry {
  return { kind: 'file', content: Buffer.from(lines.join('')) };
}

async function writeArchive(
  path: string,
  entries: ReadonlyMap<string, CpioEntry>,
  flags: 'w' | 'a' = 'w',
): Promise<void> {
  const file = createWriteStream(path, { flags });
  let written = 0;
  for (const piece of cpio(entries)) {
    written += piece.length;
    if (!file.write(piece)) await once(file, 'drain');
  }
  // Archives that follow one another begin at multiples of 512 bytes, as cpio(1) ends them.
  file.end(new Uint8Array(-written & 511));
  await once(file, 'close');
}
