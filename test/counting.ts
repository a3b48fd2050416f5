/* A program that counts how often it runs. */
import { insn } from '../src/index.js';

const { alu, exit, load, loadMapValue, mov, program, store } = insn;

/** Returns instructions that add 1 to the first value of an array of 64-bit numbers. */
export function countRuns(map: Parameters<typeof loadMapValue>[1]): Uint8Array {
  return program(
    loadMapValue('r1', map),
    load(8, 'r2', 'r1', 0),
    alu('add', 'r2', 1),
    store(8, 'r1', 0, 'r2'),
    mov('r0', 0),
    exit(),
  );
}
