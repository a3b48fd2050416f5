import { failure } from '../errors.js';
import * as rows from './commands.js';
import type { ObjectFacts } from './facts.js';
import type { Command, Condition } from './rows.js';
import { fieldOffset, readU32 } from './words.js';

/** Every shape of every command that is known. */
export const commands: readonly Command[] = Object.values(rows);

/** The shapes of each command by its number; the one that applies to whatever is left is last. */
const shapes = new Map<number, Command[]>();
for (const row of commands) {
  const others = shapes.get(row.command) ?? [];
  if (row.when === undefined) others.push(row);
  else others.unshift(row);
  shapes.set(row.command, others);
}

/**
 * Finds the shape of command `number` that the attribute `image` has, so that its pointers and
 * descriptors are known.
 *
 * @param handleOf the handle behind a descriptor number in the image, or 0
 * @throws ERR_BPF_UNKNOWN_COMMAND when no shape applies: nothing is ever guessed
 */
export function shapeOf(
  number: number,
  image: Uint8Array,
  handleOf: (fd: number) => number,
  facts: ObjectFacts,
): Command {
  const candidates = shapes.get(number);
  const found = candidates?.find(
    (row) => row.when === undefined || applies(row, row.when, image, handleOf, facts),
  );
  if (found !== undefined) return found;
  const name = candidates?.[0]?.name;
  throw failure('ERR_BPF_UNKNOWN_COMMAND', {
    command: name === undefined ? number : `${name} in this shape`,
  });
}

function applies(
  row: Command,
  when: Condition,
  image: Uint8Array,
  handleOf: (fd: number) => number,
  facts: ObjectFacts,
): boolean {
  const word = (field: string) => readU32(image, fieldOffset(row, field));
  if ('value' in when) return when.value[1].includes(word(when.value[0]));
  if ('mapType' in when) {
    const map = facts.mapFacts(handleOf(word(when.mapType[0])));
    return map !== undefined && when.mapType[1].includes(map.type);
  }
  if ('linkType' in when) {
    const handle = handleOf(word(when.linkType[0]));
    return (
      facts.kindOf(handle) === 'link' && when.linkType[1].includes(facts.linkTypeOf(handle) ?? 0)
    );
  }
  return facts.kindOf(handleOf(word(when.fdKind[0]))) === when.fdKind[1];
}
