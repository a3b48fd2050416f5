/* Confines QEMU, so that a guest that takes over its QEMU cannot reach the rest of this machine. */
import { randomInt } from 'node:crypto';
import {
  chownSync,
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * User ids that systemd's table assigns to nobody: from 0x70000000 to 2^31 − 1. No other process
 * has such an id, so no other process may trace QEMU or read the guest's memory. A user such as
 * `nobody` may have other processes.
 */
const FIRST_UID = 0x7000_0000;
const UIDS = 0x1000_0000;

const O_PATH = 0o10000000;
const FOR_GROUP = 0o060;
const FOR_OTHERS = 0o006;
const ENTER = 0o001;
const READ_AND_RUN = 0o005;
const READ = 0o004;

/** The user that QEMU runs as. */
export interface QemuUser {
  /** Its user and group id; undefined for this process's own. */
  readonly uid: number | undefined;
  /** Further groups, which may open the devices that QEMU needs. */
  readonly groups: readonly number[];
  /** Why QEMU stays root, although another user was wanted. */
  readonly why?: string;
}

/** QEMU runs as the user of this process. */
const sameUser: QemuUser = { uid: undefined, groups: [] };

/**
 * Chooses the id of a user that owns nothing on this machine. Returns undefined if this process is
 * not root and so cannot change its user.
 */
export function chooseUid(): number | undefined {
  const uid = FIRST_UID + randomInt(UIDS);
  // Root of a user namespace that lacks these ids is an ordinary user of the machine.
  return process.geteuid?.() === 0 && hasId(uid) ? uid : undefined;
}

/**
 * Decides whether QEMU can run as a user.
 *
 * @param uid of {@link chooseUid}
 * @param program QEMU
 * @param devices the device files that it opens itself
 */
export function findQemuUser(
  uid: number | undefined,
  program: string,
  devices: readonly string[],
): QemuUser {
  if (uid === undefined) return sameUser;
  if (!othersCanRun(program)) {
    return { ...sameUser, why: `other users cannot run ${program}` };
  }
  const groups: number[] = [];
  for (const device of devices) {
    const { mode, gid } = statSync(device);
    if ((mode & FOR_OTHERS) === FOR_OTHERS) continue;
    if ((mode & FOR_GROUP) !== FOR_GROUP || gid === 0) {
      const cure = `let a group open it: chgrp kvm ${device} && chmod 660 ${device}`;
      return { ...sameUser, why: `only root can open ${device} (${cure})` };
    }
    groups.push(gid);
  }
  return { uid, groups };
}

/** The arguments of setpriv(1) that make a process run as a user, without a way back. */
export function setprivArguments({ uid, groups }: QemuUser): string[] {
  if (uid === undefined) return ['--no-new-privs'];
  return [
    ...['--reuid', `${uid}`, '--regid', `${uid}`],
    ...(groups.length === 0 ? ['--clear-groups'] : ['--groups', groups.join(',')]),
    ...['--inh-caps=-all', '--bounding-set=-all', '--no-new-privs'],
  ];
}

function hasId(id: number): boolean {
  return readFileSync('/proc/self/uid_map', 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .some(([first = 0, , count = 0]) => id >= first && id - first < count);
}

function othersCanRun(program: string): boolean {
  const path = realpathSync(program);
  if ((statSync(path).mode & READ_AND_RUN) !== READ_AND_RUN) return false;
  return othersCanEnter(dirname(path));
}

/** Returns whether every user can enter a folder, by its absolute path. */
export function othersCanEnter(path: string): boolean {
  for (let folder = path; ; folder = dirname(folder)) {
    if ((statSync(folder).mode & ENTER) === 0) return false;
    if (folder === '/') return true;
  }
}

/**
 * Files and sockets that QEMU inherits as open descriptors, because it cannot enter their folders.
 */
export class LentFiles {
  /** In the order of their numbers in QEMU. */
  readonly descriptors: number[] = [];
  readonly #user: QemuUser;
  readonly #first: number;

  /** @param first the number that the first descriptor has in QEMU */
  constructor(user: QemuUser, first: number) {
    this.#user = user;
    this.#first = first;
  }

  /**
   * Returns the path by which QEMU opens a file or a socket. If QEMU could not open it, it becomes
   * the property of QEMU's user, so it must belong to this process.
   */
  lend(path: string): string {
    const fd = openSync(path, O_PATH);
    this.descriptors.push(fd);
    const status = fstatSync(fd);
    const { uid } = this.#user;
    const readable = status.isFile() && (status.mode & READ) !== 0;
    if (uid !== undefined && !readable) chownSync(join('/proc/self/fd', `${fd}`), uid, uid);
    return `/proc/self/fd/${this.#first + this.descriptors.length - 1}`;
  }

  /** Closes the descriptors of this process. */
  close(): void {
    for (const fd of this.descriptors.splice(0)) closeSync(fd);
  }
}
