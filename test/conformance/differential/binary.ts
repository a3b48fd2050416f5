/* The scripts that oracle.c reads, and the reports that it writes. */
import type { Case, Step } from './script.js';
import { isObserved } from './script.js';

/** The outcome of a step, as either executor saw it. */
export interface Outcome {
  /** −1 on error; otherwise the number of the new descriptor, if there is one. */
  readonly result: number;
  readonly errno: number;
  /** The contents of all the case's places so far, in the order in which the places were made. */
  readonly places: readonly Uint8Array[];
}

const Operation = {
  case: 0,
  map: 1,
  copy: 2,
  same: 3,
  open: 4,
  close: 5,
  read: 6,
  bpf: 7,
  self: 8,
} as const;
const STEP_BYTES = 7 * 8;

/** Returns the script of oracle.c for cases. */
export function compileScript(cases: readonly Case[]): Buffer {
  return Buffer.concat(
    cases.flatMap((one) => [step(Operation.case, []), ...one.steps.map(encode)]),
  );
}

function encode(one: Step): Buffer {
  const operation = Operation[one.op];
  switch (one.op) {
    case 'map':
      return step(operation, [one.place.address, one.place.sizeBytes, one.protection], one.bytes);
    case 'copy':
      return step(operation, [one.to, one.from, one.sizeBytes]);
    case 'same':
      return step(operation, [one.to, one.a, one.b, one.sizeBytes]);
    case 'open':
      return step(operation, [one.fd], Buffer.from(`${one.path}\0`));
    case 'close':
      return step(operation, [one.fd]);
    case 'read':
      return step(operation, [one.fd, one.address, one.sizeBytes]);
    case 'self':
      return step(operation, [one.to]);
    case 'bpf':
      return step(
        operation,
        [one.command, one.attribute, one.sizeBytes, one.fd],
        one.common && words64(one.common.address, one.common.sizeBytes),
      );
  }
}

function words64(...words: readonly (number | bigint)[]): Uint8Array {
  return Buffer.from(BigUint64Array.from(words.map(BigInt)).buffer);
}

function step(operation: number, words: readonly (number | bigint)[], bytes?: Uint8Array): Buffer {
  const length = bytes?.length ?? 0;
  const all = Buffer.alloc(STEP_BYTES + Math.ceil(length / 8) * 8);
  [operation, ...words].forEach((word, at) => {
    all.writeBigUInt64LE(BigInt.asUintN(64, BigInt(word)), 8 * at);
  });
  all.writeBigUInt64LE(BigInt(length), STEP_BYTES - 8);
  if (bytes !== undefined) all.set(bytes, STEP_BYTES);
  return all;
}

/**
 * Reads the reports of oracle.c: for each case, the outcomes of its observed steps.
 *
 * @throws TypeError when the reports end early, because oracle.c has died
 */
export function parseReports(cases: readonly Case[], reports: Buffer): Outcome[][] {
  let offset = 0;
  const word = () => {
    if (offset + 8 > reports.length) throw new TypeError('the reports of oracle.c end early');
    offset += 8;
    return Number(reports.readBigInt64LE(offset - 8));
  };
  return cases.map((one) => {
    const sizes: number[] = [];
    const outcomes: Outcome[] = [];
    for (const step of one.steps) {
      if (step.op === 'map') sizes.push(step.place.sizeBytes);
      if (!isObserved(step)) continue;
      const [result, errno] = [word(), word()];
      const places = sizes.map((size) => {
        const bytes = new Uint8Array(size);
        const written = word();
        bytes.set(reports.subarray(offset, offset + written));
        offset += written;
        return bytes;
      });
      outcomes.push({ result, errno, places });
    }
    return outcomes;
  });
}
