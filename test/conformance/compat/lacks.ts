/*
 * Why tools do not work in the standard guest, where that is the guest's kernel or machine and no
 * want of equipment: a row whose native side fails for another reason fails the run.
 */
interface Lack {
  readonly command: RegExp;
  /** What the tool says of it. */
  readonly says: RegExp;
  readonly why: string;
}

const lacks: readonly Lack[] = [
  {
    command: /\b(btrfs|nfs|xfs)(dist|slower)\b/,
    says: /failed to attach BPF programs: -2/,
    why: 'no file system of that kind is in the guest’s kernel',
  },
  {
    command: /\bmdflush(\.bt)?$/,
    says: /md_flush_request|failed to open\/load/,
    why: 'the guest’s kernel has no software RAID',
  },
  {
    command: /\b(biosnoop|biostacks|cachestat|readahead)\b/,
    says: /failed to (load BPF object|set attach target)/,
    why: 'this version of the tool names functions that the guest’s kernel does not have',
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

/** Why a command fails in the guest itself, or undefined when that is not known. */
export function lackOf(command: string, stderr: string): string | undefined {
  return lacks.find((lack) => lack.command.test(command) && lack.says.test(stderr))?.why;
}
