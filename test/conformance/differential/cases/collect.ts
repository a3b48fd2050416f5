/* How cases are written down. */
import { Case, type Layout, type Place } from '../script.js';
import { words } from './objects.js';

/** Adds a case: the command that it is about, its name, and what is done. */
export type Add = (command: number, name: string, play: (c: Case) => void) => void;

/** The cases that `write` adds, in their order. */
export function collect(write: (add: Add) => void): Case[] {
  const cases: Case[] = [];
  write((command, name, play) => {
    const one = new Case(command, name);
    play(one);
    cases.push(one);
  });
  return cases;
}

/** Makes a call in whose attribute a word is known only when the case is run. */
export function withWord(
  c: Case,
  command: number,
  layout: Layout,
  word: Place,
  offset: number,
): { attribute: Place; fd: number } {
  const attribute = c.attribute({ ...layout, [offset]: words(0) });
  c.copy(attribute.place, offset, word, 0);
  c.differs('id', attribute.place, offset);
  return { attribute: attribute.place, fd: c.again(command, attribute.place, attribute.sizeBytes) };
}

/** Makes the same call with attributes of these lengths. */
export const lengths = [0, 1, 3, 4, 7, 8, 12, 16, 64, 168, 255, 4096] as const;
