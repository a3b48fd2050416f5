/*
 * Decides whether a path is the guest's. All files below the folders in which a kernel describes
 * itself are, except those that are listed here.
 */

/** Files that describe the program, or its machine, and the reason. */
export interface Exception {
  readonly pattern: RegExp;
  /** The files, as docs/run.md names them. */
  readonly what: string;
  readonly why: string;
}

/**
 * The exceptions. `/proc/ID` of the program's own processes is one as well, but not listed here.
 */
export const exceptions: readonly Exception[] = [
  {
    pattern: /^\/proc\/(self|thread-self)(\/|$)/,
    what: "`/proc/self`, `/proc/thread-self` and `/proc/ID` of the program's own processes, except `net`, `mounts` and `mountinfo` (see below)",
    why: 'They describe the program, which runs on the host.',
  },
  {
    pattern: /^\/proc\/sys\/fs(\/|$)/,
    what: '`/proc/sys/fs/`',
    why: 'They bound the descriptors, pipes and locks of the program.',
  },
  {
    pattern: /^\/proc\/sys\/vm\/(overcommit_\w+|max_map_count|mmap_min_addr|legacy_va_layout)$/,
    what: '`/proc/sys/vm/overcommit_*`, `max_map_count`, `mmap_min_addr`, `legacy_va_layout`',
    why: 'The host gives the program its memory. Allocators and language runtimes read them.',
  },
  {
    pattern: /^\/proc\/sys\/kernel\/(cap_last_cap|ngroups_max|rtsig-max|seccomp(\/.*)?)$/,
    what: '`/proc/sys/kernel/cap_last_cap`, `ngroups_max`, `rtsig-max`, `seccomp/`',
    why: "libcap, the C library and libseccomp read there what the host's kernel accepts from the program.",
  },
  {
    pattern: /^\/proc\/sys\/crypto\/fips_enabled$/,
    what: '`/proc/sys/crypto/fips_enabled`',
    why: 'Cryptographic libraries read it to choose which of their own code they use.',
  },
  {
    pattern: /^\/sys\/kernel\/mm\/transparent_hugepage(\/|$)/,
    what: '`/sys/kernel/mm/transparent_hugepage/`',
    why: "The Go runtime and allocators read it before they lay out the program's own memory.",
  },
  {
    pattern: /^\/sys\/fs\/selinux(\/|$)/,
    what: '`/sys/fs/selinux`',
    why: 'libselinux, which `ls` and many other programs load, reads the label of the program itself there.',
  },
];

/** The folders in which a kernel describes itself. */
const folders = ['/proc', '/sys', '/boot', '/lib/modules', '/usr/lib/modules'];
/** The devices by which this machine's kernel describes itself. */
const devices = ['/dev/kmsg', '/dev/mem'];
/** All paths that lead to what a kernel tells of itself. No other path is the guest's. */
export const kernelPaths: readonly string[] = [...folders, ...devices];

const root = new RegExp(`^(?:${folders.join('|')})(?:/|$)`);

/** Returns whether a path is, or is below, a folder in which a kernel describes itself. */
export function isBelowKernel(path: string): boolean {
  return root.test(path);
}

/** Returns whether a path is below such a folder and is no exception. */
export function isGuestPath(path: string): boolean {
  return isBelowKernel(path) && !exceptions.some(({ pattern }) => pattern.test(path));
}

/** Returns whether a path names a device by which this machine's kernel describes itself. */
export function isKernelDevice(path: string): boolean {
  return devices.includes(path);
}

/** Returns the id of the process that a path is about. */
export function processOf(path: string): number | undefined {
  const [, id] = /^\/proc\/(\d+)(?:\/|$)/.exec(path) ?? [];
  return id === undefined ? undefined : Number(id);
}

/** Returns whether a path names a process's executable, or another file as the process sees it. */
export function isProgramFile(path: string): boolean {
  return /^\/proc\/\d+\/(?:exe$|root\/)/.test(path);
}

/** Returns whether a path names the root of a process, which only serves to name files. */
export function isProcessRoot(path: string): boolean {
  return /^\/proc\/\d+\/root$/.test(path);
}

/** Returns whether a path names a namespace, which is passed to calls and not read. */
export function isNamespace(path: string): boolean {
  return /^\/proc\/\d+\/(?:task\/\d+\/)?ns\/\w+$/.test(path);
}

/** Returns whether a path is in the guest's bpf file system, which can be changed. */
export function isPinPath(path: string): boolean {
  return /^\/sys\/fs\/bpf\/[^/]/.test(path);
}

/** Returns whether a path is below the guest's cgroups, in which folders can be made. */
export function isCgroupPath(path: string): boolean {
  return /^\/sys\/fs\/cgroup\/[^/]/.test(path);
}

/** Returns whether a file of the kernel never ends: reading it waits for more. */
export function isLive(path: string): boolean {
  return /\/(trace_pipe|trace_pipe_raw|snapshot_raw)$/.test(path);
}
