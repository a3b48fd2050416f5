import { existsSync, readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { type Arguments, type Command, encode, KnownMaps } from '../../src/bpf/index.js';
import type { Results } from '../../src/bpf/types.js';
import type { Call, Handle, Reply } from '../../src/call.js';
import { systemError } from '../../src/errors.js';
import {
  callFrameBound,
  FrameType,
  HEADER_BYTES,
  messageFrame,
  outputLengths,
  parseError,
  parseReply,
  putCallFrame,
} from '../../src/frame/index.js';
import { native } from '../../src/native.js';
import { encodeRules } from '../../src/policy/index.js';

const rules = encodeRules({
  commands: [[0, 2 ** 32 - 1]],
  known: { flags: 2 ** 32 - 1, secondBytes: 2 ** 32 - 1 },
  perfEvents: false,
  checks: [],
  reports: [],
  pins: [],
  noPointerScan: [],
  foreign: [],
  ringBytes: 0,
  readablePaths: ['/'],
  pinPaths: [],
  cgroupPaths: [],
  ioctls: [],
  netlink: [],
  limits: {
    maxFrameBytes: 2 ** 26,
    maxCallBytes: 2 ** 26,
    maxBuffers: 256,
    maxRelocations: 2 ** 16,
    maxHandles: 4096,
    maxStreams: 0,
    maxEventsPerSecond: 0,
  },
});

const none = new Uint8Array(0);

/** How many CPUs this machine can have. */
export const possibleCpus: number =
  Number(readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim().split('-').at(-1)) + 1;

/** What came of a call: its results, and the error that it would have been thrown as. */
export interface Outcome<C extends Command> {
  reply: Reply;
  results: Results<C>;
  errno: number;
  error(): Error;
}

/** This machine's own kernel, reached through frames as a guest's would be. */
export class LocalKernel {
  readonly maps = new KnownMaps(possibleCpus);
  readonly #executor = new native.Executor(rules);
  #handles = 0;

  /** Makes a call and returns what came of it, error or not. */
  try<C extends Command>(shape: C, values: Arguments<C>): Outcome<C> & { handle: Handle } {
    const handle = shape.returns === 'fd' ? ++this.#handles : 0;
    const encoded = encode(shape, values, this.maps, handle);
    const reply = this.make(encoded.call);
    const results = encoded.decode(reply);
    return { reply, results, errno: reply.errno, error: () => encoded.error(reply), handle };
  }

  /** Makes a call as it is. */
  make(call: Call): Reply {
    const frame = new Uint8Array(callFrameBound(call));
    const length = putCallFrame(frame, 1, call);
    const answer = this.#executor.execute(frame.subarray(0, length));
    const type = answer[4];
    if (type !== FrameType.RESULT) throw parseError(answer.subarray(HEADER_BYTES));
    return parseReply(answer, HEADER_BYTES, answer.length, outputLengths(call), false);
  }

  /** Makes a call that must succeed. */
  call<C extends Command>(shape: C, values: Arguments<C>): Results<C> & { handle: Handle } {
    const { errno, error, results, handle } = this.try(shape, values);
    if (errno !== 0) throw error();
    return { ...results, handle };
  }

  /** Opens a file for reading. */
  open(path: string): { handle: Handle } {
    const handle = ++this.#handles;
    this.#succeed(messageFrame(FrameType.OPEN, 1, [path, handle]));
    return { handle };
  }

  /** Reads from what a handle stands for. */
  read({ handle }: { handle: Handle }, lengthBytes: number): Uint8Array {
    const { result, outputs } = this.#succeed(
      messageFrame(FrameType.READ, 1, [handle, lengthBytes]),
    );
    const bytes = new Uint8Array(result);
    bytes.set(outputs[0] ?? none);
    return bytes;
  }

  /** Closes handles. */
  forget(...objects: { handle: Handle }[]): void {
    const handles = objects.map(({ handle }) => handle);
    this.#succeed(messageFrame(FrameType.CLOSE, 1, handles));
    for (const handle of handles) this.maps.closed(handle);
  }

  #succeed(frame: Uint8Array): Reply {
    const answer = this.#executor.execute(frame);
    if (answer[4] !== FrameType.RESULT) throw parseError(answer.subarray(HEADER_BYTES));
    const reply = parseReply(answer, HEADER_BYTES, answer.length, undefined, false);
    if (reply.result < 0) throw systemError('file', reply.errno);
    return reply;
  }

  close(): void {
    this.#executor.close();
  }
}

/** Where this machine has its cgroup2 hierarchy, by itself or beside others. */
export function cgroupHierarchy(): string | undefined {
  return ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((folder) =>
    existsSync(`${folder}/cgroup.controllers`),
  );
}

/** Skips the rest of a test, for a feature that came with a version of Linux. */
export function lacks(t: Pick<Test, 'pass'>, feature: string, version: string): void {
  t.pass(feature, { skip: `this kernel has no ${feature} (try: Linux ${version})` });
}

/** Why this machine cannot run tests against its own kernel, or `false`. */
export function whyNoKernel(): string | false {
  if (process.getuid?.() !== 0) return 'bpf(2) needs privileges (try: run the tests as root)';
  const probe = new native.Executor(rules);
  try {
    // MAP_GET_NEXT_ID from 0: harmless, and needs what everything else here needs.
    const call = {
      command: 12,
      args: 1 as const,
      result: 0,
      buffers: [{ inout: new Uint8Array(16) }],
      relocations: [],
    };
    const frame = new Uint8Array(callFrameBound(call));
    const answer = probe.execute(frame.subarray(0, putCallFrame(frame, 1, call)));
    const { errno } = parseReply(answer, HEADER_BYTES, answer.length, undefined, false);
    if (errno === 1) return 'bpf(2) is not permitted here (try: outside of the container)';
    if (errno === 38) return 'this kernel has no bpf(2) (try: one with CONFIG_BPF_SYSCALL)';
    return false;
  } finally {
    probe.close();
  }
}
