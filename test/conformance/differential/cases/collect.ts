/* Helpers for writing cases. */
import { Case, type Layout, type Place } from '../script.js';
import { words } from './objects.js';

/** Adds a case: the command that it is about, its name, and its steps. */
export type Add = (command: number, name: string, play: (c: Case) => void) => void;

/** Returns the cases that `write` adds, in their order. */
export function collect(write: (add: Add) => void): Case[] {
  const cases: Case[] = [];
  write((command, name, play) => {
    const one = new Case(command, name);
    play(one);
    cases.push(one);
  });
  return cases;
}

/** Makes a call whose attribute has a word that is known only when the case runs. */
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

/** The lengths of the attributes with which a call is repeated. */
export const lengths = [0, 1, 3, 4, 7, 8, 12, 16, 64, 168, 255, 4096] as const;
