/*
 * Programs and libraries that the program probes. The program has found the function's offset in a
 * file of this machine. The guest's kernel puts the probe into the guest's file with the same path.
 */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { failure, type WaepError } from '../errors.js';
import { MAX_FILE_BYTES, readFile } from '../kernel/guest-file.js';
import type { Session } from '../session.js';
import type { OwnProcesses } from './own-processes.js';

/** The program headers and the build-id note are at the beginning of a file. */
const HEAD_BYTES = 64 * 1024;
/** The flag of open(2) that names a file and does not open it (include/uapi/asm-generic/fcntl.h). */
const O_PATH = 0o10000000;
const SEGMENT_BYTES = 56;
const PT_NOTE = 4;
const NT_GNU_BUILD_ID = 3;

/** Compares the files that the program probes with the guest's. */
export class ProbedFiles {
  readonly #session: Session;
  readonly #own: OwnProcesses;
  readonly #warnOnce: (error: Error) => void;
  readonly #known = new Map<string, Promise<void>>();

  /** @param warnOnce called for each file that cannot be compared */
  constructor(session: Session, own: OwnProcesses, warnOnce: (error: Error) => void) {
    this.#session = session;
    this.#own = own;
    this.#warnOnce = warnOnce;
  }

  /**
   * Checks that a path names the same file for a thread of the program and for the guest's kernel.
   *
   * @throws ERR_RUN_REFUSED when the files differ
   */
  async check(thread: number, path: string): Promise<void> {
    // The path leads through a process of the guest, so the program has read the guest's file as
    // well.
    if (this.#own.isForeign(path)) return;
    if (!path.startsWith('/') || path.startsWith('/proc/')) {
      throw refusal(path, 'only absolute paths mean the same there', 'Name the file itself.');
    }
    // The program cannot have read any other file here. The guest's kernel reports whether it has
    // one. Its answer about a folder, such as /, tells libbpf whether it has such links.
    const fd = openRegular(`/proc/${thread}/root${path}`);
    if (fd === undefined) return;
    try {
      const status = fstatSync(fd, { bigint: true });
      const { dev, ino, size, mtimeNs } = status;
      const key = `${dev} ${ino} ${size} ${mtimeNs} ${path}`;
      const checked = this.#known.get(key) ?? this.#compare(fd, path);
      this.#known.set(key, checked);
      await checked;
    } finally {
      closeSync(fd);
    }
  }

  async #compare(fd: number, path: string): Promise<void> {
    const head = Buffer.alloc(HEAD_BYTES);
    const ours = buildIdOf(head.subarray(0, readSync(fd, head, 0, head.length, 0)));
    try {
      const theirs = ours === undefined ? undefined : buildIdOf(await this.#head(path));
      if (ours !== undefined && theirs !== undefined) {
        if (ours !== theirs)
          throw differs(path, `has build id ${ours} and the guest's build id ${theirs}`);
        return;
      }
      const { size } = fstatSync(fd);
      if (size > MAX_FILE_BYTES)
        throw failure('ERR_GUEST_FILE', { path, maxBytes: MAX_FILE_BYTES });
      // The digests are not shown: the program need not be allowed to read the file.
      const guests = await readFile(this.#session, path);
      if (!readFileSync(fd).equals(guests))
        throw differs(path, "has other contents than the guest's");
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === 'ERR_RUN_REFUSED' || code === 'ERR_SESSION_CLOSED') throw error;
      // With ENOENT, the guest's kernel reports the missing file itself. With any other error, the
      // files may differ.
      if (code !== 'ENOENT') this.#warnOnce(uncompared(path, error as Error));
    }
  }

  async #head(path: string): Promise<Uint8Array> {
    const handle = await this.#session.open(path);
    try {
      return (await this.#session.readPart(handle, HEAD_BYTES)).bytes;
    } finally {
      this.#session.release([handle]).catch(() => {});
    }
  }
}

/**
 * Opens a regular file for reading. Other files, such as pipes and devices, are not opened: that
 * could wait for somebody, or do something.
 */
function openRegular(path: string): number | undefined {
  let place: number | undefined;
  try {
    place = openSync(path, O_PATH);
    return fstatSync(place).isFile() ? openSync(`/proc/self/fd/${place}`, 'r') : undefined;
  } catch {
    return undefined;
  } finally {
    if (place !== undefined) closeSync(place);
  }
}

/** Returns the build id of a 64-bit ELF file, from the file's first bytes. */
function buildIdOf(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (head.length < 64 || head.readUInt32BE(0) !== 0x7f454c46 || head[4] !== 2) return undefined;
  const segments = Number(head.readBigUInt64LE(32));
  for (let index = 0; index < head.readUInt16LE(56); index++) {
    const at = segments + index * SEGMENT_BYTES;
    if (at + SEGMENT_BYTES > head.length) return undefined;
    if (head.readUInt32LE(at) !== PT_NOTE) continue;
    const start = Number(head.readBigUInt64LE(at + 8));
    const id = noteIn(head.subarray(start, start + Number(head.readBigUInt64LE(at + 32))));
    if (id !== undefined) return id;
  }
  return undefined;
}

function noteIn(notes: Buffer): string | undefined {
  for (let at = 0; at + 12 <= notes.length; ) {
    const [nameBytes, bytes, type] = [0, 4, 8].map((offset) => notes.readUInt32LE(at + offset));
    const name = at + 12;
    const start = name + Math.ceil((nameBytes as number) / 4) * 4;
    const end = start + (bytes as number);
    if (end > notes.length) return undefined;
    if (type === NT_GNU_BUILD_ID && notes.toString('latin1', name, name + 4) === 'GNU\0') {
      return notes.toString('hex', start, end);
    }
    at = start + Math.ceil((bytes as number) / 4) * 4;
  }
  return undefined;
}

function refusal(path: string, why: string, instead: string): WaepError {
  return failure('ERR_RUN_REFUSED', { call: `a probe in ${path}`, why, instead });
}

function differs(path: string, how: string): WaepError {
  return refusal(
    path,
    `the file here ${how}, where its offsets mean something else`,
    'Give this machine the build that the guest has.',
  );
}

function uncompared(path: string, error: Error): WaepError {
  return failure('ERR_RUN_NOTICE', {
    what: `${path} cannot be compared with the guest's: ${error.message}`,
    instead: 'Probes in it are right only if both are the same.',
  });
}
