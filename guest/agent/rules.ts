import { Encoder } from 'cbor-x';
import type { SessionLimits } from '../../src/frame/messages.js';

/** A 32-bit word of a command's attribute that must have one of a set of values. */
export interface WordRule {
  /** What a refusal calls it, such as `prog_type`. */
  name: string;
  /** The bpf command's number. */
  command: number;
  /** Byte offset in the attribute; bytes that the caller did not send read as zero. */
  offset: number;
  /** The values allowed, each below 64. */
  allowed: readonly number[];
}

/** What a session may do, as numbers: what a policy comes down to. */
export interface Rules {
  /** Allowed command numbers, each below 64. */
  commands: readonly number[];
  /** Whether commands numbered 64 and above are allowed. */
  otherCommands: boolean;
  words: readonly WordRule[];
  /** Absolute paths that may be opened for reading; one that ends in `/` stands for what is below. */
  readablePaths: readonly string[];
  limits: SessionLimits;
}

const encoder = new Encoder({ useRecords: false });

function mask(values: readonly number[]): bigint {
  let bits = 0n;
  for (const value of values) bits |= 1n << BigInt(value);
  return bits;
}

/** Encodes rules as addon/core/rules.h reads them. */
export function encodeRules(rules: Rules): Uint8Array {
  const { limits } = rules;
  return encoder.encode([
    mask(rules.commands),
    rules.otherCommands,
    rules.words.map((word) => [word.name, word.command, word.offset, mask(word.allowed)]),
    rules.readablePaths,
    [
      limits.maxFrameBytes,
      limits.maxCallBytes,
      limits.maxBuffers,
      limits.maxRelocations,
      limits.maxHandles,
    ],
  ]);
}
