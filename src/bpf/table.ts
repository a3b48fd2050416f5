import { failure } from '../errors.js';
import * as rows from './commands.js';
import { textOf } from './compile.js';
import { fieldOffset, readU32 } from './little-endian.js';
import type { Command, Condition } from './rows.js';
import type { ObjectSpecs } from './specs.js';

/** All known shapes of all commands. */
export const commands: readonly Command[] = Object.values(rows);

/** The shapes of each command by its number, in the order of their trial. */
const shapes = new Map<number, Command[]>();
const rank = ({ first, when }: Command) => (first === true ? 0 : when === undefined ? 2 : 1);
for (const row of [...commands].sort((a, b) => rank(a) - rank(b))) {
  const others = shapes.get(row.command);
  if (others === undefined) shapes.set(row.command, [row]);
  else others.push(row);
}

/**
 * Returns the shape of command `number` for the attribute `image`. The shape gives the pointers and
 * descriptors.
 *
 * @param handleOf returns the handle behind a descriptor number in the image, or 0
 * @param pid the process id of the caller in its own PID namespace, or 0
 * @throws ERR_BPF_UNKNOWN_COMMAND when no shape applies: this function never guesses
 */
export function shapeOf(
  number: number,
  image: Uint8Array,
  handleOf: (fd: number) => number,
  specs: ObjectSpecs,
  pid = 0,
): Command {
  const candidates = shapes.get(number);
  const seen = { image, handleOf, specs, pid };
  const found = candidates?.find(
    (row) => row.when === undefined || [row.when].flat().some((when) => applies(row, when, seen)),
  );
  if (found !== undefined) return found;
  const name = candidates?.[0]?.name;
  throw failure('ERR_BPF_UNKNOWN_COMMAND', {
    command: name === undefined ? number : `${name} in this shape`,
  });
}

interface Seen {
  readonly image: Uint8Array;
  readonly handleOf: (fd: number) => number;
  readonly specs: ObjectSpecs;
  readonly pid: number;
}

function applies(row: Command, when: Condition, { image, handleOf, specs, pid }: Seen): boolean {
  const word = (field: string) => readU32(image, fieldOffset(row, field));
  const handle = (field: string) => handleOf(word(field));
  const { value, zero, text, own, mapType, progType, linkType, perfType, fdKind, iterates } = when;
  if (value !== undefined && !value[1].includes(word(value[0]))) return false;
  if (zero !== undefined && word(zero) !== 0) return false;
  if (text !== undefined && textAt(image, fieldOffset(row, text[0])) !== text[1]) return false;
  if (own !== undefined && (pid === 0 || word(own) !== pid)) return false;
  if (mapType !== undefined) {
    const map = specs.mapSpec(handle(mapType[0]));
    if (map === undefined || !mapType[1].includes(map.type)) return false;
  }
  if (progType !== undefined) {
    const type = specs.progTypeOf?.(handle(progType[0]));
    if (type === undefined || !progType[1].includes(type)) return false;
  }
  if (linkType !== undefined) {
    const link = handle(linkType[0]);
    if (specs.kindOf(link) !== 'link') return false;
    if (!linkType[1].includes(specs.linkTypeOf(link) ?? 0)) return false;
  }
  if (perfType !== undefined) {
    const type = specs.perfTypeOf?.(handle(perfType[0]));
    if (type === undefined || !perfType[1].includes(type)) return false;
  }
  if (fdKind !== undefined) {
    const object = handle(fdKind[0]);
    const kind = object === 0 ? 'none' : specs.kindOf(object);
    if (kind === undefined || !fdKind[1].includes(kind)) return false;
  }
  if (iterates === undefined) return true;
  return specs.iterTargetOf?.(handle(iterates[0])) === iterates[1];
}

function textAt(image: Uint8Array, offset: number): string {
  return textOf(image.subarray(offset));
}
