/* A program that counts how often it runs. */
import { insn } from '../src/index.js';

const { atomic, exit, loadMapValue, mov, program } = insn;

/** Returns instructions that add 1 to the first value of an array of 64-bit numbers, on any CPU. */
export function countRuns(map: Parameters<typeof loadMapValue>[1]): Uint8Array {
  return program(
    loadMapValue('r1', map),
    mov('r2', 1),
    atomic('add', 8, 'r1', 0, 'r2'),
    mov('r0', 0),
    exit(),
  );
}
