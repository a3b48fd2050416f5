import { readFileSync, statfsSync } from 'node:fs';
import { errnoName } from '../../src/errno.js';
import { native } from '../../src/native.js';

/** A file system of the kernel that sessions use. */
interface FileSystem {
  /** Its name in /proc/filesystems. */
  readonly type: string;
  /** Its number in linux/magic.h, which statfs(2) returns. */
  readonly magic: number;
  /** Where clients look for it. */
  readonly place: string;
  /** Whether it may be mounted anywhere, because clients name its folders by their own paths. */
  readonly anywhere?: true;
  /** What is impossible without it. */
  readonly without: string;
}

/** Sorted so that a file system comes before those that are mounted inside it. */
const fileSystems: readonly FileSystem[] = [
  {
    type: 'sysfs',
    magic: 0x62656572,
    place: '/sys',
    without: 'neither processors nor devices can be told',
  },
  {
    type: 'debugfs',
    magic: 0x64626720,
    place: '/sys/kernel/debug',
    without: 'files below /sys/kernel/debug cannot be read',
  },
  {
    type: 'tracefs',
    magic: 0x74726163,
    place: '/sys/kernel/tracing',
    without:
      'tracepoints have no names here: none can be attached to by its name, and a policy with the rule hooks refuses all that are asked for by their numbers',
  },
  {
    type: 'securityfs',
    magic: 0x73636673,
    place: '/sys/kernel/security',
    without: 'whether the kernel is locked down cannot be told',
  },
  {
    type: 'bpf',
    magic: 0xcafe4a11,
    place: '/sys/fs/bpf',
    without: 'nothing can be pinned',
  },
  {
    type: 'cgroup2',
    magic: 0x63677270,
    place: '/sys/fs/cgroup',
    anywhere: true,
    without: 'no program can be attached to a cgroup',
  },
];

/** How the agent and its executors get a file system. */
export interface Provision {
  /** Its name in /proc/filesystems, such as `tracefs`. */
  readonly type: string;
  /** Where sessions find it, such as `/sys/kernel/tracing`. */
  readonly place: string;
  /**
   * `found`: the machine has mounted it there. `bound`: the machine has it elsewhere. `mounted`:
   * the agent mounted it. `missing` otherwise. Only the agent and its executors see what was bound
   * or mounted.
   */
  readonly how: 'found' | 'bound' | 'mounted' | 'missing';
  /** Why it is missing and what is impossible without it, or from where it is bound. */
  readonly detail: string;
}

/** The machine's mounts. Tests replace it. */
export interface Machine {
  /** /proc/self/mountinfo. */
  mounts: string;
  /** /proc/filesystems. */
  known: string;
  /** Returns the magic number of the file system at a place, or `undefined`. */
  magicOf(place: string): number | undefined;
}

function thisMachine(): Machine {
  return {
    mounts: readFileSync('/proc/self/mountinfo', 'utf8'),
    known: readFileSync('/proc/filesystems', 'utf8'),
    magicOf: (place) => {
      try {
        return statfsSync(place).type;
      } catch {
        return undefined;
      }
    },
  };
}

/** Returns where whole file systems of a type are mounted, according to /proc/self/mountinfo. */
export function mountedAt(type: string, mounts: string): string[] {
  return mounts.split('\n').flatMap((line) => {
    const [front = '', back = ''] = line.split(' - ');
    const [, , , root, place = ''] = front.split(' ');
    if (root !== '/' || !back.startsWith(`${type} `)) return [];
    // mountinfo(5) writes spaces and similar characters as octal numbers.
    return Buffer.from(
      place.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
      'latin1',
    ).toString();
  });
}

/**
 * Makes the kernel's file systems visible at their usual places. It binds those that the machine
 * has elsewhere and mounts those that the machine does not have. This happens in a new mount
 * namespace, for this thread and the processes that it starts later. The machine's own mounts stay
 * as they are. It must be called before the first executor is started.
 *
 * A bpf file system that is mounted here, and everything pinned there, ends with this process and
 * its executors. To keep pins, the owner mounts one before starting the agent.
 */
export function provideFileSystems(machine: Machine = thisMachine()): Provision[] {
  const mounts: Mounts = { left: undefined };
  return fileSystems.map((one) => provide(one, machine, mounts));
}

/** The result of leaving the machine's mounts, if that was tried. */
interface Mounts {
  left: number | undefined;
}

function provide(one: FileSystem, machine: Machine, mounts: Mounts): Provision {
  const { type, place, magic, without } = one;
  if (machine.magicOf(place) === magic) return { type, place, how: 'found', detail: '' };
  // A mount below another mount cannot be reached.
  const elsewhere = mountedAt(type, machine.mounts).find((path) => machine.magicOf(path) === magic);
  if (one.anywhere === true && elsewhere !== undefined) {
    return { type, place: elsewhere, how: 'found', detail: '' };
  }
  const missing = (why: string): Provision => {
    return { type, place, how: 'missing', detail: `${why}. Without it ${without}` };
  };
  if (!machine.known.split('\n').includes(`nodev\t${type}`)) {
    return missing('this kernel has no such file system');
  }
  mounts.left ??= native.leaveMounts();
  const result =
    mounts.left < 0
      ? mounts.left
      : elsewhere === undefined
        ? native.mount(type, place)
        : native.bindMount(elsewhere, place);
  if (result < 0) {
    const why = errnoName(-result);
    const cure = why === 'EPERM' ? ', which needs CAP_SYS_ADMIN; or mount it before' : '';
    return missing(`it is not mounted here, and mounting it ends with ${why}${cure}`);
  }
  return elsewhere === undefined
    ? { type, place, how: 'mounted', detail: '' }
    : { type, place, how: 'bound', detail: elsewhere };
}

/**
 * Returns lines for the machine's owner about file systems that were bound, mounted or are missing.
 *
 * @param btf whether the kernel has types of its own
 */
export function remarksOn(provisions: readonly Provision[], btf: boolean): string[] {
  const remarks = provisions.flatMap(({ type, place, how, detail }) => {
    if (how === 'missing') return `there is no ${type} at ${place}: ${detail}.`;
    if (how !== 'mounted' || type !== 'bpf') return [];
    return `no bpf file system is mounted here, so that sessions get one at ${place} that nobody else sees: what they pin there is gone when the agent ends. Mount one before the agent is started to keep pins.`;
  });
  if (btf) return remarks;
  return [
    ...remarks,
    'there are no types (BTF) at /sys/kernel/btf/vmlinux: this kernel was built without. Without them no program is attached to a function or a hook by its name, and kernel functions have no names for policies.',
  ];
}
