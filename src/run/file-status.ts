/* The structures that stat(2) and statx(2) write. */

/** STATX_BASIC_STATS. */
const BASIC_STATS = 0x7ff;

interface FileStatus {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly mode: bigint;
  readonly nlink: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
  readonly size: bigint;
  readonly blksize: bigint;
  readonly blocks: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** The byte offsets of the fields of `struct statx`. */
const at = {
  blksize: 4,
  nlink: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  ino: 32,
  size: 40,
  blocks: 48,
  atime: 64,
  ctime: 96,
  mtime: 112,
  rdev: 128,
  dev: 136,
} as const;
const STATX_BYTES = 256;
const STAT_BYTES = 144;

/** Returns a device number as stat(2) writes it: new_encode_dev() of the kernel, in 64 bits. */
function deviceNumber(major: number, minor: number): bigint {
  return BigInt((minor & 0xff) | ((major & 0xfff) << 8)) | (BigInt(minor & ~0xff) << 12n);
}

/** Returns the `struct stat` with the contents of a `struct statx`. */
function stat(status: Buffer): Uint8Array {
  const to = Buffer.alloc(STAT_BYTES);
  const device = (where: number) =>
    deviceNumber(status.readUInt32LE(where), status.readUInt32LE(where + 4));
  to.writeBigUInt64LE(device(at.dev), 0);
  status.copy(to, 8, at.ino, at.ino + 8);
  to.writeUInt32LE(status.readUInt32LE(at.nlink), 16);
  to.writeUInt32LE(status.readUInt16LE(at.mode), 24);
  to.writeUInt32LE(status.readUInt32LE(at.uid), 28);
  to.writeUInt32LE(status.readUInt32LE(at.gid), 32);
  to.writeBigUInt64LE(device(at.rdev), 40);
  status.copy(to, 48, at.size, at.size + 8);
  to.writeUInt32LE(status.readUInt32LE(at.blksize), 56);
  status.copy(to, 64, at.blocks, at.blocks + 8);
  for (const [index, time] of [at.atime, at.mtime, at.ctime].entries()) {
    status.copy(to, 72 + index * 16, time, time + 8);
    to.writeUInt32LE(status.readUInt32LE(time + 8), 80 + index * 16);
  }
  return to;
}

/** Returns the `struct statx` of a file of this machine. */
export function statxOf(status: FileStatus): Buffer {
  const to = Buffer.alloc(STATX_BYTES);
  to.writeUInt32LE(BASIC_STATS, 0);
  to.writeUInt32LE(Number(status.blksize), at.blksize);
  to.writeUInt32LE(Number(status.nlink), at.nlink);
  to.writeUInt32LE(Number(status.uid), at.uid);
  to.writeUInt32LE(Number(status.gid), at.gid);
  to.writeUInt16LE(Number(status.mode), at.mode);
  to.writeBigUInt64LE(status.ino, at.ino);
  to.writeBigUInt64LE(status.size, at.size);
  to.writeBigUInt64LE(status.blocks, at.blocks);
  for (const name of ['atime', 'mtime', 'ctime'] as const) {
    const time = status[`${name}Ns`];
    to.writeBigInt64LE(time / 1_000_000_000n, at[name]);
    to.writeUInt32LE(Number(time % 1_000_000_000n), at[name] + 8);
  }
  to.writeUInt32LE(Number(status.dev >> 8n), at.dev);
  to.writeUInt32LE(Number(status.dev & 0xffn), at.dev + 4);
  return to;
}

/**
 * Converts a `struct statx` to the structure that a call writes. Also holds byte offsets in
 * `struct statx`.
 */
export const forms = {
  MODE: at.mode,
  INODE: at.ino,
  stat,
  statx: (status: Buffer): Uint8Array => status,
} as const;
