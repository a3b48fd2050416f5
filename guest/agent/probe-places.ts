/*
 * Finds the places where programs and libraries can be probed: the starts of functions, and the
 * notes of <sys/sdt.h>. It reads little-endian 64-bit ELF files. Any other file has no places.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import type { ProbePlace } from '../../src/policy/index.js';

/** Larger files are not read. Debug information, which can be large, is in files of its own. */
const MAX_TABLE_BYTES = 256 * 1024 * 1024;
const HEADER_BYTES = 64;
const SEGMENT_BYTES = 56;
const SECTION_BYTES = 64;
const SYMBOL_BYTES = 24;
const PT_LOAD = 1;
const SHT_SYMTAB = 2;
const SHT_NOTE = 7;
const SHT_DYNSYM = 11;
const STT_FUNC = 2;
const NT_STAPSDT = 3;

interface Segment {
  offset: number;
  address: number;
  fileBytes: number;
}

interface Section {
  name: number;
  type: number;
  address: number;
  offset: number;
  bytes: number;
  link: number;
}

/** Reads a file with bounds, because whoever can write to the file chooses its contents. */
class Image {
  readonly #fd: number;
  readonly #bytes: number;

  constructor(fd: number) {
    this.#fd = fd;
    this.#bytes = fstatSync(fd).size;
  }

  read(offset: number, length: number): Buffer {
    if (offset + length > this.#bytes || length > MAX_TABLE_BYTES)
      throw new RangeError('cut short');
    const bytes = Buffer.alloc(length);
    if (readSync(this.#fd, bytes, 0, length, offset) !== length) throw new RangeError('cut short');
    return bytes;
  }
}

const word = (bytes: Buffer, at: number) => Number(bytes.readBigUInt64LE(at));

function segmentsOf(image: Image, header: Buffer): Segment[] {
  const count = header.readUInt16LE(56);
  const table = image.read(word(header, 32), count * SEGMENT_BYTES);
  return Array.from({ length: count }, (_, i) => i * SEGMENT_BYTES)
    .filter((at) => table.readUInt32LE(at) === PT_LOAD)
    .map((at) => ({
      offset: word(table, at + 8),
      address: word(table, at + 16),
      fileBytes: word(table, at + 32),
    }));
}

function sectionsOf(image: Image, header: Buffer): Section[] {
  const count = header.readUInt16LE(60);
  const table = image.read(word(header, 40), count * SECTION_BYTES);
  return Array.from({ length: count }, (_, i) => i * SECTION_BYTES).map((at) => ({
    name: table.readUInt32LE(at),
    type: table.readUInt32LE(at + 4),
    address: word(table, at + 16),
    offset: word(table, at + 24),
    bytes: word(table, at + 32),
    link: table.readUInt32LE(at + 40),
  }));
}

/** Returns the offset in the file of the byte at an address, or `undefined`. */
function fileOffset(segments: readonly Segment[], address: number): number | undefined {
  const found = segments.find(
    (one) => address >= one.address && address < one.address + one.fileBytes,
  );
  return found === undefined ? undefined : address - found.address + found.offset;
}

function textAt(bytes: Buffer, offset: number): string {
  const end = bytes.indexOf(0, offset);
  return bytes.toString('latin1', offset, end < 0 ? bytes.length : end);
}

type Matches = (name: string) => boolean;

function* functions(image: Image, sections: readonly Section[], matches: Matches) {
  for (const { type, offset, bytes, link } of sections) {
    const names = sections[link];
    if ((type !== SHT_SYMTAB && type !== SHT_DYNSYM) || names === undefined) continue;
    const table = image.read(offset, bytes);
    const texts = image.read(names.offset, names.bytes);
    for (let at = 0; at + SYMBOL_BYTES <= table.length; at += SYMBOL_BYTES) {
      const isFunction = (table.readUInt8(at + 4) & 15) === STT_FUNC;
      if (!isFunction || table.readUInt16LE(at + 6) === 0) continue;
      if (matches(textAt(texts, table.readUInt32LE(at)))) yield word(table, at + 8);
    }
  }
}

function* notes(image: Image, sections: readonly Section[], names: Buffer, matches: Matches) {
  const base = sections.find(({ name }) => textAt(names, name) === '.stapsdt.base');
  for (const { type, name, offset, bytes } of sections) {
    if (type !== SHT_NOTE || textAt(names, name) !== '.note.stapsdt') continue;
    const table = image.read(offset, bytes);
    for (let at = 0; at + 12 <= table.length; ) {
      const start = at + 12 + Math.ceil(table.readUInt32LE(at) / 4) * 4;
      const length = table.readUInt32LE(at + 4);
      if (table.readUInt32LE(at + 8) === NT_STAPSDT && length >= 24) {
        const note = table.subarray(start, start + length);
        const provider = textAt(note, 24);
        const named = `${provider}:${textAt(note, 24 + provider.length + 1)}`;
        // prelink(8) may have moved the code since, so the note's addresses are moved as well.
        const moved = base === undefined ? 0 : base.address - word(note, 8);
        const counter = word(note, 16);
        if (matches(named)) {
          yield { address: word(note, 0) + moved, counter: counter === 0 ? 0 : counter + moved };
        }
      }
      at = start + Math.ceil(length / 4) * 4;
    }
  }
}

/** Returns `KernelNames`' identity of a file, as addon/core/executor/rule_checker.cc does. */
export function fileIdentity(file: string): string {
  const about = statSync(file, { bigint: true, throwIfNoEntry: false });
  if (about === undefined) return '';
  const { dev, ino, size, mtimeNs, ctimeNs } = about;
  return [dev, ino, size, mtimeNs, ctimeNs].join('.');
}

/** Returns the places of a file whose names match: functions, and notes by `PROVIDER:NAME`. */
export function probePlaces(file: string, matches: Matches): ProbePlace[] {
  let fd = -1;
  try {
    fd = openSync(file, 'r');
    return placesIn(new Image(fd), matches);
  } catch {
    return [];
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

function placesIn(image: Image, matches: Matches): ProbePlace[] {
  const header = image.read(0, HEADER_BYTES);
  if (!header.subarray(0, 6).equals(Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]))) return [];
  const segments = segmentsOf(image, header);
  const sections = sectionsOf(image, header);
  const table = sections[header.readUInt16LE(62)];
  const names = table === undefined ? Buffer.alloc(0) : image.read(table.offset, table.bytes);
  const places = new Map<string, ProbePlace>();
  const add = (address: number, counterAddress: number) => {
    const offset = fileOffset(segments, address);
    const counter = counterAddress === 0 ? 0 : fileOffset(segments, counterAddress);
    if (offset === undefined || counter === undefined) return;
    places.set(`${offset} ${counter}`, { offset, counter });
  };
  for (const address of functions(image, sections, matches)) add(address, 0);
  for (const { address, counter } of notes(image, sections, names, matches)) add(address, counter);
  return [...places.values()];
}
