import { readFileSync } from 'node:fs';
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

/** Which events perf_event_open(2) may open. */
export interface PerfRules {
  /** Allowed `PERF_TYPE_*`, each below 64. */
  types: readonly number[];
  /** Allowed kinds of which each kernel chooses the number: folders of /sys/bus/event_source/devices. */
  devices: readonly string[];
  /** Whether types numbered 64 and above are allowed. */
  otherTypes: boolean;
  /** The bits that the attribute's 64 bits of flags, at byte 40, must not have. */
  refusedFlags: readonly number[];
}

/** What the third argument of an ioctl(2) is. */
export type IoctlArgument = 'number' | 'handle' | 'buffer';

/** An ioctl(2) request that a session may make on its handles. */
export interface IoctlRule {
  /** What a refusal calls it, such as `PERF_EVENT_IOC_ENABLE`. */
  name: string;
  request: number;
  argument: IoctlArgument;
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
  perf: PerfRules;
  ioctls: readonly IoctlRule[];
  limits: SessionLimits;
}

const encoder = new Encoder({ useRecords: false });

const ALL = 2n ** 64n - 1n;

function mask(values: readonly number[]): bigint {
  let bits = 0n;
  for (const value of values) bits |= 1n << BigInt(value);
  return bits;
}

const ioctlArguments: readonly IoctlArgument[] = ['number', 'handle', 'buffer'];

/** The type that this kernel gives to events of a device, where it has the device. */
function deviceType(device: string): number[] {
  try {
    return [Number(readFileSync(`/sys/bus/event_source/devices/${device}/type`, 'latin1'))];
  } catch {
    return [];
  }
}

/** Encodes rules as addon/core/rules.h reads them. */
export function encodeRules(rules: Rules): Uint8Array {
  const { limits, perf } = rules;
  const perfTypes = [...perf.types, ...perf.devices.flatMap(deviceType)];
  return encoder.encode([
    mask(rules.commands),
    rules.otherCommands,
    rules.words.map((word) => [word.name, word.command, word.offset, mask(word.allowed)]),
    rules.readablePaths,
    [mask(perfTypes.filter((type) => type < 64)), perf.otherTypes, ~mask(perf.refusedFlags) & ALL],
    rules.ioctls.map(({ name, request, argument }) => [
      name,
      request,
      ioctlArguments.indexOf(argument),
    ]),
    [
      limits.maxFrameBytes,
      limits.maxCallBytes,
      limits.maxBuffers,
      limits.maxRelocations,
      limits.maxHandles,
    ],
  ]);
}
