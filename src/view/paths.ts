/*
 * Which files a program means the guest's kernel by. Whatever is not below one of these is this
 * machine's own.
 */

const guestPaths: readonly RegExp[] = [
  /^\/sys\/kernel\/(btf|tracing|debug\/tracing|debug\/kprobes)\//,
  /^\/sys\/kernel\/(kheaders\.tar\.xz|security\/lockdown|notes)$/,
  /^\/sys\/devices\/system\/cpu\/(possible|online|present|kernel_max)$/,
  /^\/sys\/bus\/event_source\/devices\//,
  /^\/proc\/(kallsyms|modules|config\.gz|version|version_signature)$/,
  /^\/proc\/sys\/kernel\/(unprivileged_bpf_disabled|perf_event_.*|kptr_restrict|pid_max|bpf_stats_enabled|randomize_va_space|osrelease|version)$/,
  /^\/proc\/sys\/net\/core\/bpf_jit_/,
  /^\/sys\/fs\/(bpf|cgroup)\//,
  /^\/boot\/(config|vmlinux)-/,
];

/** Whether a path names something of the kernel that a program looks into. */
export function isGuestPath(path: string): boolean {
  return guestPaths.some((pattern) => pattern.test(path));
}

/**
 * The id of the process that a path tells of: what it runs, by which addresses of its stacks get
 * their names, and what it is called.
 */
export function processOf(path: string): number | undefined {
  const [, id] =
    /^\/proc\/(\d+)\/(?:maps|exe|comm|cmdline|stat|status|root|root\/.*)$/.exec(path) ?? [];
  return id === undefined ? undefined : Number(id);
}

/** Whether a path names what a process runs, or another file as the process sees it. */
export function isProgramFile(path: string): boolean {
  return /^\/proc\/\d+\/(?:exe$|root\/)/.test(path);
}

/** Whether a path names a cgroup, or a file of one. */
export function isGuestCgroup(path: string): boolean {
  return path === '/sys/fs/cgroup' || path.startsWith('/sys/fs/cgroup/');
}

/** Whether a file of the kernel never ends: reading it waits for more. */
export function isLive(path: string): boolean {
  return /\/(trace_pipe|trace_pipe_raw|snapshot_raw)$/.test(path);
}
