/*
 * Why tools fail in the standard guest itself, because of the guest's kernel or machine. If the
 * native side of a row fails for any other reason, the run fails.
 */
interface Lack {
  readonly command: RegExp;
  /** The message of the tool. */
  readonly says: RegExp;
  readonly why: string;
}

const lacks: readonly Lack[] = [
  {
    command: /\b(bcachefs|btrfs|f2fs|fuse|nfs|xfs|zfs)(dist|slower)\b/,
    says: /failed to attach BPF programs: -2/,
    why: 'no file system of that kind is in the guest’s kernel',
  },
  {
    command: /\bmdflush(\.bt|-libbpf)?$/,
    says: /md_flush_request|failed to open\/load/,
    why: 'the guest’s kernel has no software RAID',
  },
  {
    command: /\b(biosnoop|biostacks|cachestat|readahead)\b/,
    says: /failed to (load BPF object|set attach target)/,
    why: 'this version of the tool names functions that the guest’s kernel does not have',
  },
  {
    command: /\brunqlat\.bt$/,
    says: /Include headers with missing type definitions/,
    why: 'the script includes a header that does not go with types from BTF',
  },
  {
    command: /\btcpdrop\.bt$/,
    says: /'net\/sock\.h' file not found/,
    why: 'the script includes a header of the kernel’s sources',
  },
  {
    command: /rawtracepoint:sched_process_exit/,
    says: /Invalid probe type made it to attachpoint parser/,
    why: 'this version of bpftrace knows no such probe on this kernel',
  },
  {
    command: /\brunqlen\.bt$/,
    says: /'struct cfs_rq' does not contain a field named 'nr_running'/,
    why: 'the script names a field that the guest’s kernel does not have',
  },
  {
    command: /\b(swapin|vfsstat)\.bt$/,
    says: /Error attaching probe: 'kprobe:(swap_readpage|vfs_write\*)'/,
    why: 'the script names a function that cannot be probed in the guest’s kernel',
  },
  {
    command: /\bcpufreq\b/,
    says: /failed to init freqs/,
    why: 'an emulated processor has no frequencies',
  },
  {
    command: /\bjavagc\b/,
    says: /attach usdt mem__pool__gc__begin failed/,
    why: 'no Java runs in the guest',
  },
];

/** Returns why a command fails in the guest itself, or undefined if that is unknown. */
export function lackOf(command: string, stderr: string): string | undefined {
  return lacks.find((lack) => lack.command.test(command) && lack.says.test(stderr))?.why;
}
