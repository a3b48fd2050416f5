/*
 * The kernel's version in a process's vDSO. Some programs read it there instead of calling
 * uname(2). The kernel maps the vDSO into each program that is started, with this machine's
 * version.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { native } from '../native.js';

const AT_SYSINFO_EHDR = 33n;
const HEADER_BYTES = 64;
const SEGMENT_BYTES = 56;
const PT_NOTE = 4;
const MAX_NOTES_BYTES = 4096;

/**
 * Returns LINUX_VERSION_CODE of a kernel. Debian and Ubuntu have the base version in `version`.
 */
export function versionCode(release: string, version: string): number {
  const built = /\b(?:Debian|Ubuntu) (\d+)\.(\d+)\.(\d+)/.exec(version);
  const [, major, minor, patch] = built ?? /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(release) ?? [];
  return (Number(major) << 16) | (Number(minor) << 8) | Math.min(Number(patch ?? 0), 255);
}

/**
 * Writes a version into the vDSO of one process.
 *
 * @returns whether the vDSO now has the version; also true for a process without a vDSO
 */
export function setVdsoVersion(process: number, code: number): boolean {
  const place = findNote(process);
  if (place === undefined) return true;
  const bytes = new Uint8Array(Uint32Array.of(code).buffer);
  try {
    // Writing to /proc/PID/mem ignores the page's protection, as debuggers need.
    // process_vm_writev(2) respects it.
    const memory = openSync(`/proc/${process}/mem`, 'r+');
    try {
      return writeSync(memory, bytes, 0, bytes.length, Number(place)) === bytes.length;
    } finally {
      closeSync(memory);
    }
  } catch {
    return false;
  }
}

/** Where the notes were found last. All processes of a kernel have the same vDSO. */
let known: { readonly offset: bigint; readonly length: number } | undefined;

/** Returns the address of the version in the ELF note of Linux. */
function findNote(process: number): bigint | undefined {
  const base = vdsoOf(process);
  if (base === undefined) return undefined;
  const read = (address: bigint, length: number) => {
    const bytes = Buffer.alloc(length);
    return native.readMemory(process, address, bytes) === length ? bytes : undefined;
  };
  if (known !== undefined) {
    const found = versionIn(read(base + known.offset, known.length) ?? Buffer.alloc(0));
    if (found !== undefined) return base + known.offset + BigInt(found);
  }
  const head = read(base, HEADER_BYTES);
  const count = head?.readUInt16LE(56) ?? 0;
  const segments = head && read(base + head.readBigUInt64LE(32), count * SEGMENT_BYTES);
  for (let at = 0; segments !== undefined && at < segments.length; at += SEGMENT_BYTES) {
    if (segments.readUInt32LE(at) !== PT_NOTE) continue;
    const offset = segments.readBigUInt64LE(at + 8);
    const length = Math.min(Number(segments.readBigUInt64LE(at + 32)), MAX_NOTES_BYTES);
    const found = versionIn(read(base + offset, length) ?? Buffer.alloc(0));
    if (found === undefined) continue;
    known = { offset, length };
    return base + offset + BigInt(found);
  }
  return undefined;
}

function vdsoOf(process: number): bigint | undefined {
  try {
    const words = readFileSync(`/proc/${process}/auxv`);
    for (let at = 0; at + 16 <= words.length; at += 16) {
      if (words.readBigUInt64LE(at) === AT_SYSINFO_EHDR) return words.readBigUInt64LE(at + 8);
    }
  } catch {
    // The process has ended.
  }
  return undefined;
}

function versionIn(notes: Buffer): number | undefined {
  for (let at = 0; at + 12 <= notes.length; ) {
    const [nameBytes = 0, bytes = 0, type] = [0, 4, 8].map((offset) =>
      notes.readUInt32LE(at + offset),
    );
    const start = at + 12 + Math.ceil(nameBytes / 4) * 4;
    if (type === 0 && bytes === 4 && notes.toString('latin1', at + 12, at + 18) === 'Linux\0') {
      return start + 4 <= notes.length ? start : undefined;
    }
    at = start + Math.ceil(bytes / 4) * 4;
  }
  return undefined;
}
